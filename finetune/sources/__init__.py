"""From any source to Parquet files and a model folder; `download` reruns for it."""
