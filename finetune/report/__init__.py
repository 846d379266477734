"""`python -m finetune.report`: one page about the model; no stage reruns for it."""
