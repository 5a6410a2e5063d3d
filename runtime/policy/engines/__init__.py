"""Engines, each of which runs one stage on numpy arrays. Backends are looked up by name; see `registry`."""
