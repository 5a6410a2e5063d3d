"""A bundle on disk: manifest, certificate, tolerances and INT8 table, and the engine interface."""
