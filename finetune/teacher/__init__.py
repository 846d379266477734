"""A fine-tuned classifier that a student learns from; `teach` reruns for it."""
