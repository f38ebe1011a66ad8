"""What the simulation does as Temporal does it, semantic by semantic, and beside the real server."""
