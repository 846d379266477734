"""`python -m finetune.predict`: labels for texts and tables; no stage reruns for it."""
