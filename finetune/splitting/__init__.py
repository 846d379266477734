"""Assigns each row to a split; `tokenize` reruns for it."""
