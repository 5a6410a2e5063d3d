"""What a policy expects and means: its spec, and the pre- and postprocessing that follows from it."""
