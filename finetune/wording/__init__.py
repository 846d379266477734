"""Names, numbers and sentences that the card, the gate and the report share; `export` reruns for it."""
