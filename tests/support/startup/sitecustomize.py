"""Imported by every Python that a test's project starts: the garbage collector would take a sixth of the time of its imports."""

import gc

gc.set_threshold(1_000_000)
