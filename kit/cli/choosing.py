"""Which workflow, operation or class of the service a command is about, with a word for whoever misspells it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

from kit.errors import DefinitionError
from kit.testing.alone import opened
from kit.testing.faults import Fault, FaultKind, Scenario
from kit.testing.report.side_effects import name_of
from kit.testing.runs import Run
from kit.testing.world import Subject
from kit.worker import Connector

T = TypeVar("T")


def subjects_named(found: Iterable[Subject]) -> dict[str, Subject]:
    """Subjects by the type of their workflow.

    Raises:
        DefinitionError: Two have the same.
    """
    named: dict[str, Subject] = {}
    for subject in found:
        name = name_of(subject.workflow)
        if name in named:
            raise DefinitionError(
                f"subject {name!r}",
                rule="there are two of this workflow",
                fix="keep one, or give the second workflow a name of its own",
            )
        named[name] = subject
    return named


def subject_named(named: Mapping[str, Subject], wanted: str) -> Subject:
    """One of several subjects, by the type of its workflow or the name of its class.

    Raises:
        DefinitionError: There is none of that name; the message names the nearest.
    """
    by_class = {subject.workflow.__name__: subject for subject in named.values()}
    return by_class[wanted] if wanted in by_class and wanted not in named else chosen(named, wanted, what="workflow")


async def connectors_of(subject: Subject) -> tuple[type[Connector], ...]:
    """The classes of the connectors that a subject's world has: they say how each operation is undone and looked up."""
    async with opened(subject.world) as world:
        return tuple(type(connector) for connector in world.connectors)


def chosen(named: Mapping[str, T], wanted: str, *, what: str) -> T:
    """One of several things by its name.

    Raises:
        DefinitionError: There is none of that name; the message names the nearest.
    """
    if wanted not in named:
        known = ", ".join(sorted(named)) or "none"
        raise DefinitionError(f"{what} {wanted!r}", rule=f"there is none; there is {known}", fix=_fix(wanted, named))
    return named[wanted]


def check_operations(scenario: Scenario, known: Iterable[str]) -> None:
    """Refuse a scenario whose faults are at operations that the workflow does not have.

    Raises:
        DefinitionError: With the nearest name.
    """
    names = list(known)
    for fault in scenario.faults:
        if names and fault.point.operation not in names:
            raise DefinitionError(
                f"fault {str(fault)!r}",
                rule=f"the workflow has no operation {fault.point.operation!r}; it has {', '.join(sorted(names))}",
                fix=_fix(fault.point.operation, names),
            )


def untried(run: Run) -> list[tuple[Fault, tuple[FaultKind, ...]]]:
    """The faults of a run that a sweep would not try there, each with what it tries.

    They strike all the same. But what they do is beyond the assumptions (a database commits at once, a provider without
    keys is asked once), so that what breaks then is no counterexample.
    """
    tried = {seen.point: seen.kinds for seen in run.seen if seen.kinds}
    return [
        (fault, tried[fault.point])
        for fault in run.scenario.faults
        if fault.point in tried and fault.kind not in tried[fault.point]
    ]


def _fix(wanted: str, known: Iterable[str]) -> str:
    near = get_close_matches(wanted, list(known), n=1, cutoff=0.5)
    return f"write {near[0]!r}, if that is what you mean" if near else "use one of these"
