"""Numbered pieces of independent work on many workers: in, a function that opens the work; out, results by number."""
