"""Pretrained encoders: loading, precision, prediction; every stage that computes reruns for it."""
