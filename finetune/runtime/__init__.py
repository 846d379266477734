"""The exported model without torch; `export` reruns for it, and predict, serve and SageMaker run it."""
