"""Which row goes to which split; `tokenize` reruns for it."""
