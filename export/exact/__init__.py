"""The perceive stage with fewer operations and the same results, built from the eager modules (docs/vpp.md)."""
