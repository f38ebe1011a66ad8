"""Scenarios on a real Temporal server whose workflows skip time: the ground truth of the simulation."""

from kit.testing.engines.server.engine import ServerEngine

__all__ = ["ServerEngine"]
