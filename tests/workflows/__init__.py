"""The reference workflows, end to end."""
