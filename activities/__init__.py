"""Reference operations and connectors: one folder per external system."""
