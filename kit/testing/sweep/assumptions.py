"""What a verdict takes for granted, in sentences a reader can disagree with."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Any

from kit.contract import Once, OnceStrategy, Operation
from kit.testing.engines.way import asks_for_the_way
from kit.testing.faults import FaultKind, Seam
from kit.testing.world import Subject
from kit.workflow import SagaWorkflow


def assumptions(subject: Subject, *, depth: int, seed: int, engine: str, kinds: Collection[FaultKind]) -> list[str]:
    """The assumptions of a sweep: of its faults, of the engine, of the world, and of the contracts."""
    return [
        *_of_faults(depth, kinds),
        *_of_engine(engine, seed),
        f"The providers behave as {_name(subject.world)} says, apart from the faults.",
        _of_invariants(subject),
        *_of_contracts(subject),
    ]


def _of_faults(depth: int, kinds: Collection[FaultKind]) -> Iterator[str]:
    strike = "fault strikes" if depth == 1 else "faults strike"
    yield f"At most {depth} {strike} one scenario; each strikes once, and then it is over."
    left_out = [kind.value for kind in FaultKind if kind not in kinds]
    if left_out:
        yield f"Not tried: {', '.join(left_out)}."
    yield "Two faults of one seam do not strike the same request."
    if between := [kind.value for kind in (FaultKind.CANCEL_BEFORE, FaultKind.HELD) if kind in kinds]:
        yield (
            f"What comes before a call ({', '.join(between)}) comes before one that is made: not between an attempt "
            "and another that calls nobody, because the ledger knows the answer or has to wait."
        )
    if any(kind.seam is Seam.WORKER for kind in kinds):
        yield "Every attempt dies alone: what else its worker had in hand goes on."


def _of_engine(engine: str, seed: int) -> Iterator[str]:
    if engine == "server":
        yield "What runs at the same time comes in the order in which the server took it this time."
        return
    yield f"What runs at the same time comes in one order, which seed {seed} decides."
    yield f"Temporal does what the {engine} does; where it was compared with a real server, it was the same."
    yield "What time it is matters to leases, settle times, deadlines and keys, and to no answer and no invariant."


def _of_invariants(subject: Subject) -> str:
    asking = asks_for_the_way(subject)
    if asking is not None:
        return f"{asking.name!r} asks for the way that led to the end: every scenario was run to its own."
    return (
        "An invariant is a rule over what the providers and the ledgers hold, how the run ended and what it asked: "
        "the way that led there does not count."
    )


def _of_contracts(subject: Subject) -> Iterator[str]:
    operations = _operations(subject)
    for dependency in {operation.dependency.name: operation.dependency for operation in operations}.values():
        if dependency.settle > timedelta(0):
            yield f"A request that {dependency.name} accepted takes effect within {_span(dependency.settle)}, or never."
        else:
            yield f"What {dependency.name} accepted is visible to a look-up at once."
    for operation in operations:
        once = operation.once
        if once is not None and (promise := _promise(operation, once)) is not None:
            yield promise


def _promise(operation: Operation[Any, Any], once: Once) -> str | None:
    match once.strategy:
        case OnceStrategy.BY_KEY:
            kept = f" for {_span(once.ttl)}" if once.ttl is not None else ""
            return f"The provider of {operation.name} honours its idempotency key{kept}."
        case OnceStrategy.BY_STATE:
            return f"Repeating {operation.name} with the same request changes nothing."
        case OnceStrategy.BY_PROBE | OnceStrategy.NEVER_TWICE:
            return f"The network delivers a request of {operation.name} at most once."
        case OnceStrategy.BY_TRANSACTION:
            return f"The effect of {operation.name} and its ledger row commit together, or not at all."


def _operations(subject: Subject) -> list[Operation[Any, Any]]:
    found: dict[str, Operation[Any, Any]] = {}
    for workflow in (subject.workflow, *subject.others):
        if issubclass(workflow, SagaWorkflow):
            found |= workflow.__saga__.operations
    return list(found.values())


def _span(span: timedelta) -> str:
    """A duration as people say it, such as "24 hours"."""
    seconds = span.total_seconds()
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size and seconds % size == 0:
            return f"{seconds / size:g} {unit}s"
    return f"{seconds:g} second{'s' * (seconds != 1)}"


def _name(thing: object) -> str:
    return getattr(thing, "__qualname__", None) or type(thing).__qualname__
