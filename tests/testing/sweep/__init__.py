"""The sweep: planner, reductions, verdict."""
