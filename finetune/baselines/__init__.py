"""Classifiers to compare with that need no fine-tuning; `baseline_eval` reruns for it."""
