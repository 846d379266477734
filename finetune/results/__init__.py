"""The results of past runs, for the commands that read them; no stage depends on it."""
