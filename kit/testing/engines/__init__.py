"""What runs a scenario: the simulation, and a real server that skips time."""
