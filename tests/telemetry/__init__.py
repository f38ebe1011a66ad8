"""What the kit reports: logs, metrics and traces, seen where they arrive."""
