"""Turns any source into Parquet files and a model folder; `download` reruns for it."""
