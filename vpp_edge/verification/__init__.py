"""Compare a bundle with a reference: the observations it keeps, its checkpoint, or recorded outputs."""
