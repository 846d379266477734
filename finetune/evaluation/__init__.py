"""What the test rows say about the fine-tuned model; `evaluate` reruns for it."""
