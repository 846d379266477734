"""Work spread over a Ray cluster that is already there; no stage reruns for it."""
