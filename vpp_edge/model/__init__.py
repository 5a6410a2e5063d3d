"""The policy in plain PyTorch on diffusers modules, as released: the reference of every later graph."""
