"""Pretrained encoders: loading, precision, prediction; every stage that runs a model reruns for it."""
