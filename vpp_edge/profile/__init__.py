"""Latency of stages: measured on this machine, and predicted for other devices."""
