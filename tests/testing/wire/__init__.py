"""The wire of a scenario."""
