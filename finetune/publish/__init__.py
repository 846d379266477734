"""`python -m finetune.publish`: the exported model to the Hub, S3 or a folder; no stage reruns for it."""
