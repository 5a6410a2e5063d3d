"""Attention of each pixel over the frames of a video."""
