"""The perceive stage with less work and the same results: modules built from the eager ones (docs/vpp.md)."""
