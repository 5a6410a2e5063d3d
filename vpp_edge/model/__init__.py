"""The policy in plain PyTorch on diffusers modules, as released: the reference that every later graph is held against."""
