"""What the stages share: one module an idea. The README numbers the order in which to read them."""
