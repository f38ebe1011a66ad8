"""The worlds of the reference workflows, and of small ones that show what a sweep can do."""

from typing import Final

from kit.testing.world import Subject
from tests.worlds.checkout import CHECKOUT

SUBJECTS: Final[tuple[Subject, ...]] = (CHECKOUT,)
"""What ``kit verify`` verifies here."""

__all__ = ["CHECKOUT", "SUBJECTS"]
