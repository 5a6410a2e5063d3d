"""Residual sum, frame positions, blend of pixels and frames, and the LayerNorm behind them."""
