"""Speed and scale, measured by hand; no stage and no promise depends on what stands here."""
