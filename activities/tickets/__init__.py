"""The ticket system: open and close tickets."""
