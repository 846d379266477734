"""Classifiers without fine-tuning, for comparison; `baseline_eval` and `evaluate` rerun for it."""
