"""What this machine can run, and how to install what is missing: the checks of `vpp-edge doctor`."""
