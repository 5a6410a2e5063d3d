"""Latency of stages as it is measured here, and as it is predicted for devices that are not at hand."""
