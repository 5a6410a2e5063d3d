"""Engines run one stage each: numpy arrays in, numpy arrays out. Backends are found by name; see `registry`."""
