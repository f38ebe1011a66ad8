"""A live invariant in a sweep: the definition that reconciliations and incidents ask, asked of a scenario's systems.

The same object is asked through the same operations: the world's own connectors read the world's own systems, and
records are matched and suspects looked at as a reconciliation does it (`kit.workflow.comparing`). Two things are
known here. Nothing settles any more when a scenario is at its end. And what is in flight is the scenario's own run:
nothing is asked while it waits for a person, nor when it was cut off and is to be unwound.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from pydantic import BaseModel

from kit import contract
from kit.contract import Keys, Operation, Page, Role, Scan, Token
from kit.errors import DefinitionError
from kit.testing.runs import Ending, Run
from kit.testing.world import World
from kit.workflow.comparing import Comparison, Side, pairs_of, suspects

ResultT = TypeVar("ResultT")

_IN_FLIGHT: Final = frozenset({Ending.PARKED, Ending.STUCK, Ending.TERMINATED})
"""Endings after which somebody is still at work on what the run has left."""

_PAGE: Final = 1000
"""A scenario's systems are small: one page of each."""


def asked(run: Run) -> bool:
    """Whether a live invariant is asked after this run: nobody is at work any more on what it has left."""
    return run.ending not in _IN_FLIGHT


async def ask(invariant: contract.Invariant, world: World, run: Run) -> list[str]:
    """What a live invariant says of the systems of a world.

    Raises:
        DefinitionError: The world has no connector for one of its listings.
    """
    if not asked(run):
        return []
    listings = {Side.LEFT: invariant.left, Side.RIGHT: invariant.right}
    comparison, found = Comparison(), []
    while (side := comparison.next) is not None:
        scan = Scan(after=comparison.cursor(side).after, limit=_PAGE)
        page = await _read(world, invariant, listings[side].pages, scan)
        found += suspects((invariant,), comparison.take(side, page))
    found += suspects((invariant,), comparison.rest())
    if not found:
        return []
    keys = Keys(keys=tuple(dict.fromkeys(found)))
    left = await _read(world, invariant, invariant.left.again, keys)
    right = await _read(world, invariant, invariant.right.again, keys)
    said = [invariant.check(pair) for pair in pairs_of(keys.keys, left.records, right.records)]
    return [text for text in said if text is not None]


async def _read(
    world: World, invariant: contract.Invariant, operation: Operation[Any, Page], request: BaseModel
) -> Page:
    """Read a system past the faults of the scenario: the wire lets pass what belongs to no attempt."""
    for connector in world.connectors:
        if operation.name in connector.handlers and (method := connector.method(operation, Role.ACTION)) is not None:
            token = Token(key="", correlation_id="invariant", workflow_id="invariant")
            page: Page = await method(request, token)
            return page
    raise DefinitionError(
        f"invariant {invariant.name!r}",
        rule=f"{type(world).__name__} has no connector that serves {operation.name!r}",
        fix="give the world the connectors of the service that list what the invariant is about",
    )
