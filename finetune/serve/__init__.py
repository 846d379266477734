"""`python -m finetune.serve`: the exported model over HTTP; no stage reruns for it."""
