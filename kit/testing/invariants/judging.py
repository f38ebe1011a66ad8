"""Who asks the invariants: the built-in ones of every run of a scenario, the user's own of the scenario."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from kit import contract
from kit.contract import Operation, Outcome
from kit.errors import DefinitionError
from kit.ledger import Entry, State
from kit.testing.invariants import live
from kit.testing.invariants.built_in import BUILT_IN
from kit.testing.invariants.case import WITHOUT_SUCCESS, Case, Place, place_of
from kit.testing.runs import Ending, Run, Violation
from kit.testing.world import Subject, World

Operations = dict[str, Operation[Any, Any]]

Held = tuple[str, bytes]
"""A live invariant's name, and the digest of a state in which it held."""


async def judge(
    subject: Subject, world: World, run: Run, *, when: str = "end", held: set[Held] | None = None
) -> tuple[Violation, ...]:
    """Everything that does not hold: the built-in invariants, and the subject's own.

    The built-in ones are asked of the run and of each of its duplicates; what a duplicate breaks is said with its id.
    The subject's own are asked once, of the run that decides.

    Args:
        subject: What was under faults.
        world: The scenario's, as it stands now.
        run: What is known of the run now; its ``ending`` is how it stands at this instant.
        when: ``"parked"`` while a run of the scenario waits for a person, else ``"end"``.
        held: Live invariants, and states of this world's systems in which they held: they are not asked there again,
            as they see nothing else. What is found to hold is added.

    Raises:
        DefinitionError: An invariant of the subject raises, or gives no sentences; or a step was done of which the wire
            has seen nothing.
    """
    operations = {name: handlers.operation for each in world.connectors for name, handlers in each.handlers.items()}
    if when == "end" and not run.scenario.faults:
        _check_wire(world, run)
    rows = await _rows(world, run)
    found = list(_asked(_case(subject, run, run, when, operations, rows)))
    said = {(one.invariant, one.text) for one in found}
    for duplicate in run.duplicates:
        for one in _asked(_case(subject, run, duplicate, when, operations, rows)):
            if (one.invariant, one.text) not in said:
                found.append(replace(one, text=f"{duplicate.workflow_id}: {one.text}"))
    decides = _deciding(run)
    for invariant in subject.invariants:
        if isinstance(invariant, contract.Invariant):
            said_now = await _live(invariant, world, decides, held)
        else:
            said_now = await _own(invariant.name, invariant.check, world, decides)
        found.extend(Violation(invariant.name, text, when) for text in said_now)
    return tuple(found)


def _asked(case: Case) -> Iterator[Violation]:
    for rule in BUILT_IN:
        for text in rule.check(case):
            yield Violation(rule.name, text, case.when)


def _case(
    subject: Subject, scenario: Run, run: Run, when: str, operations: Operations, rows: dict[Place, Entry]
) -> Case:
    """One of the runs of a scenario, in the world that all of them leave."""
    ids = scenario.sagas.union(*(duplicate.sagas for duplicate in scenario.duplicates))
    others = ids - run.sagas
    return Case(subject, _within(scenario, run), when, operations, rows, others, first=run is scenario)


def _within(scenario: Run, run: Run) -> Run:
    """A run of a scenario, with what is known of the scenario."""
    if run is scenario:
        return run
    return replace(
        run, truth=scenario.truth, rows=scenario.rows, seen=scenario.seen, story=scenario.story, unreached=()
    )


def _deciding(scenario: Run) -> Run:
    """The run that decides what a business rule must see: while one of them stands, the effects that they share do.

    One that completed comes first, then one that has not ended; else all have turned round, and it is the first.
    """
    runs = (scenario, *scenario.duplicates)
    completed = next((run for run in runs if run.ending is Ending.COMPLETED), None)
    waiting = next((run for run in runs if run.ending not in WITHOUT_SUCCESS), None)
    return _within(scenario, completed or waiting or scenario)


async def _rows(world: World, run: Run) -> dict[Place, Entry]:
    """The rows of the scenario's runs, and those of every effect, whoever holds them."""
    rows = {(row.operation, row.key): row for row in run.rows}
    databases = {id(found): found for each in world.connectors if (found := each.database) is not None}
    for place in dict.fromkeys(place_of(effect) for effect in run.truth):
        for ledger in () if place in rows else (world.ledger, *databases.values()):
            if (row := await ledger.get(place[1])) is not None:
                rows.setdefault((row.operation, row.key), row)
    return rows


def _check_wire(world: World, run: Run) -> None:
    """Refuse a world whose connectors reach their systems past the wire: no fault could strike there."""
    done = {row.operation for row in run.rows if row.state is State.DONE}
    if run.summary is not None:
        steps = (step for step in run.summary.steps if "child" not in step)
        done |= {step["operation"] for step in steps if step["outcome"] == Outcome.DONE}
    unseen = sorted(done - {seen.point.operation for seen in run.seen})
    if unseen:
        raise DefinitionError(
            f"world {type(world).__name__!r}",
            rule=f"{unseen[0]!r} was done in the clean run, and none of its requests passed the wire",
            fix="give its connector a transport of the wire: wire.http, wire.sql, wire.smtp, or wire.client(object); "
            "of an object, each call of an async method is a request",
        )


async def _live(invariant: contract.Invariant, world: World, run: Run, held: set[Held] | None) -> list[str]:
    """What a live invariant says of the world's systems."""
    state = await world.state() if held is not None and live.asked(run) else None
    place = (invariant.name, b"" if state is None else hashlib.blake2b(state, digest_size=16).digest())
    if state is not None and held is not None and place in held:
        return []
    said = await _own(invariant.name, partial(live.ask, invariant), world, run)
    if state is not None and held is not None and not said:
        held.add(place)
    return said


async def _own(name: str, check: Callable[[Any, Run], Any], world: World, run: Run) -> list[str]:
    """What one of the user's invariants says."""
    try:
        asked = check(world, run)
        said: object = await asked if inspect.isawaitable(asked) else asked
        if isinstance(said, Iterable) and not isinstance(said, str):
            said = list(said)
    except DefinitionError:
        raise
    except Exception as error:  # a defect of the invariant, which must not pass for one of what it looks at
        raise DefinitionError(
            f"invariant {name!r}",
            rule=f"its check raised {error!r} in scenario {str(run.scenario)!r}",
            fix="let it yield a sentence for what does not hold, and raise nothing, whatever the world looks like",
        ) from error
    if isinstance(said, list) and all(isinstance(text, str) for text in said):
        return said
    raise DefinitionError(
        f"invariant {name!r}",
        rule=f"its check gave {said!r} in scenario {str(run.scenario)!r}",
        fix="yield, or return in a list, one sentence for each thing that is wrong, and [] when it holds",
    )
