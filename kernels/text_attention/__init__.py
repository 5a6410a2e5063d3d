"""Attention of all tokens to one short text."""
