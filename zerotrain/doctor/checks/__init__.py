"""What the facts mean for a run: pure functions of a machine and what is needed of it."""
