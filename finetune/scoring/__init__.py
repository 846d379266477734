"""Scores, intervals and curves of predictions; `baseline_eval` and `evaluate` rerun for it."""
