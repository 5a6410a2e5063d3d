"""Measures and reports: parity of bundles, latency of stages, what a machine can run."""
