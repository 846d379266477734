"""Tokenised rows, from `tokenize` on; needs no torch."""
