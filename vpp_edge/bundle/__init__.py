"""A bundle on disk: manifest, certificate, tolerances and INT8 table, and what an engine for its stages must offer."""
