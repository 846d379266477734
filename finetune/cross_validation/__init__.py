"""`python -m finetune.cross_validation`: every row tested once, for data too few for a test split; no stage depends on it."""
