"""`python -m finetune.gate`: metrics against thresholds and another revision; no stage depends on it."""
