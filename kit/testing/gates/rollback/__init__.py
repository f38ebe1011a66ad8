"""``kit rollback-check``: can the previous version finish what the new one began, and the other way round?

The version one works in and one that git has are put side by side. Every run in flight of either is taken over by the
other: by replay and by types at every point (`points`), and by its worker on a real server at a chosen few
(`finishing`).
"""

from kit.testing.gates.rollback.checking import Report, Service, rollback_check
from kit.testing.gates.rollback.points import Direction, Point, State
from kit.testing.gates.rollback.stage import Stage
from kit.testing.gates.rollback.telling import told

__all__ = ["Direction", "Point", "Report", "Service", "Stage", "State", "rollback_check", "told"]
