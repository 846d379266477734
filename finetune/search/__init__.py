"""`python -m finetune.search`: Optuna searches for better settings; no stage depends on it."""
