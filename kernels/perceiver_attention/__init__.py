"""Attention of a frame's queries to its features and to each other."""
