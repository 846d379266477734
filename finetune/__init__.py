"""Fine-tune a transformer to classify text: a package for each set of stages that reruns together, and the commands."""
