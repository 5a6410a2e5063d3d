"""Residual sum, frame position embedding, blend of spatial and temporal streams, and the LayerNorm after them."""
