"""The folder that ships; `export` reruns for it."""
