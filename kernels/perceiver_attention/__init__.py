"""Attention of a frame's queries to its features and to one another."""
