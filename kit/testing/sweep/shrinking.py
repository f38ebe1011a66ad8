"""The fewest faults that still break something."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from kit.testing.faults import Scenario


async def shrink(scenario: Scenario, *, violates: Callable[[Scenario], Awaitable[bool]]) -> Scenario:
    """Leave faults out as long as something is still broken.

    Fewer faults are better, and among as many those that come first in the order of `Fault`: the later ones are left
    out before the earlier ones.

    Args:
        scenario: It violates an invariant.
        violates: Runs a scenario and tells whether it does. Asked at most once of each.

    Returns:
        A scenario that violates one (not necessarily the same one), and without any one of its faults none.
    """
    asked: dict[Scenario, bool] = {}

    async def broken(candidate: Scenario) -> bool:
        if candidate not in asked:
            asked[candidate] = await violates(candidate)
        return asked[candidate]

    smaller = True
    while smaller:
        smaller = False
        for fault in reversed(scenario.faults):
            candidate = Scenario(tuple(one for one in scenario.faults if one != fault), scenario.seed)
            if await broken(candidate):
                scenario, smaller = candidate, True
                break
    return scenario
