"""Speed and scale, measured by hand; no stage depends on it."""
