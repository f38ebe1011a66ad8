"""Release gates: what a change may not break, checked before it is merged."""
