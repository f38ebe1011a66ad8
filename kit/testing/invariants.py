"""What must hold after every scenario, whatever the workflow: the built-in invariants, and who asks them."""

from __future__ import annotations

import inspect
from typing import Final

from kit.testing.runs import Run, Violation
from kit.testing.world import Invariant, Subject, World

BUILT_IN: Final[tuple[Invariant, ...]] = ()
"""Asked of every subject."""


async def judge(subject: Subject, world: World, run: Run, *, when: str = "end") -> tuple[Violation, ...]:
    """Everything that does not hold: the built-in invariants, and the subject's own.

    Args:
        subject: What was under faults.
        world: The scenario's, as it stands now.
        run: What is known of the run now; its ``ending`` is how it stands at this instant.
        when: ``"parked"`` while the run waits for a person, else ``"end"``.
    """
    found: list[Violation] = []
    for invariant in (*BUILT_IN, *subject.invariants):
        asked = invariant.check(world, run)
        texts = await asked if inspect.isawaitable(asked) else asked
        found.extend(Violation(invariant.name, text, when) for text in texts)
    return tuple(found)
