"""Attention of each pixel over its frame."""
