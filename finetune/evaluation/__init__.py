"""Scores and failures of the fine-tuned model on the test rows; `evaluate` reruns for it."""
