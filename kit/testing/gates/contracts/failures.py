"""Compare how the failures of an external system are read."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from kit.contract.failure_map import BUG
from kit.errors import Outcome
from kit.testing.gates.contracts.changes import Change, Finding
from kit.testing.gates.contracts.lock import LockedDependency

_UNCLASSIFIED: Final = f"{BUG.outcome.value} {BUG.kind.value}"


def compare_dependencies(subject: str, was: LockedDependency, now: LockedDependency) -> Iterator[Finding]:
    """What has changed in how one dependency is treated."""
    if was.settle != now.settle:
        change = Change.SETTLE_SHORTENED if now.settle < was.settle else Change.SETTLE_LENGTHENED
        yield Finding(change, subject, str(was.settle), str(now.settle))
    for failure in sorted({*was.classes, *now.classes}):
        yield from _verdict(f"{subject}, {failure}", _of_class(was, failure), _of_class(now, failure))
    for status in sorted({*was.statuses, *now.statuses}):
        yield from _verdict(f"{subject}, status {status}", _of_status(was, status), _of_status(now, status))
    for kind in sorted({*was.retry, *now.retry}):
        old, new = was.retry.get(kind, "none"), now.retry.get(kind, "none")
        if old != new:
            attempts = old.partition(" ")[0] != new.partition(" ")[0]
            yield Finding(
                Change.RETRY_ATTEMPTS if attempts else Change.RETRY_PACE, f"{subject}, retry of {kind}", old, new
            )


def _verdict(subject: str, was: str, now: str) -> Iterator[Finding]:
    if was == now:
        return
    doubt = Outcome.UNKNOWN.value
    old, new = was.partition(" ")[0], now.partition(" ")[0]
    if old == doubt != new:
        change = Change.FAILURE_TRUSTED
    elif new == doubt != old:
        change = Change.FAILURE_DOUBTED
    else:
        change = Change.FAILURE_REREAD
    yield Finding(change, subject, was, now)


def _of_status(dependency: LockedDependency, status: str) -> str:
    """What a status means: by itself, by its range, or to nobody."""
    return dependency.statuses.get(status) or dependency.statuses.get(f"{status[0]}xx", _UNCLASSIFIED)


def _of_class(dependency: LockedDependency, name: str) -> str:
    """What an exception means: by itself, by its nearest base that is named, or to nobody."""
    classes: Mapping[str, str] = dependency.classes
    return next((classes[base] for base in _bases(name) if base in classes), _UNCLASSIFIED)


@cache
def _bases(name: str) -> tuple[str, ...]:
    """The names of a class and of its bases, nearest first. Only its own where it is not installed here."""
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        return (name,)
    return tuple(f"{base.__module__}.{base.__qualname__}" for base in found.__mro__)
