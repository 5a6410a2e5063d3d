"""Workflows across floors: calibrate a bundle, and convert it to lower precision."""
