"""What runs leave, for the commands that read it; no stage reruns for it."""
