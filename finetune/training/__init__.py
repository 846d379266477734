"""Fine-tuning; `train` reruns for it."""
