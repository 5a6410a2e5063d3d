"""Fault injection into live runs: `vpp-edge chaos` breaks one thing at a time and measures how the runtime reacts."""
