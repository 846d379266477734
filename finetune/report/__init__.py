"""`python -m finetune.report`: one page about the model; no stage depends on it."""
