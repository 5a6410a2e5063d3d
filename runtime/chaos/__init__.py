"""Faults put into a live run on purpose, and what becomes of them: `vpp-edge chaos`."""
