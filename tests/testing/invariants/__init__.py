"""Each built-in invariant: what breaks it, and the nearest that does not."""
