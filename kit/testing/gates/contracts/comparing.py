"""Compare what was locked with what the code says now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

from kit.contract import Effect, OnceStrategy
from kit.testing.gates.contracts.changes import Change, Finding, Severity
from kit.testing.gates.contracts.failures import compare_dependencies
from kit.testing.gates.contracts.lock import Lock, LockedOperation, LockedWorkflow
from kit.testing.gates.contracts.service import Service, argument_of, request_of, result_of, sampled
from kit.testing.gates.contracts.types import compare_types

_STRENGTH: Final[Mapping[Effect, int]] = {
    Effect.READ: 0,
    Effect.IRREVERSIBLE: 1,
    Effect.RECONCILABLE: 2,
    Effect.COMPENSATABLE: 3,
    Effect.REVERSIBLE: 3,
}
"""How much can be done about it afterwards."""


def compare(locked: Lock, service: Service) -> list[Finding]:
    """Every change since the lock was written, in the order of the file.

    A service that has not changed has no findings. Not found is what neither a schema nor a document shows, such as
    another meaning under the same name.

    Raises:
        DefinitionError: The service cannot be described.
    """
    return list(_Comparison(locked, service).findings())


class _Comparison:
    def __init__(self, locked: Lock, service: Service) -> None:
        self.was = locked
        self.now = service.lock()
        self.service = service
        self.types = service.types()

    def findings(self) -> Iterator[Finding]:
        yield from self._dependencies()
        for name, was in self.was.operations.items():
            now = self.now.operations.get(name)
            yield from self._removed(name, was) if now is None else self._operation(name, was, now)
        for name in sorted(self.now.operations.keys() - self.was.operations.keys()):
            yield Finding(Change.OPERATION_ADDED, name, "not there", "there")
        for name, old in self.was.workflows.items():
            new = self.now.workflows.get(name)
            if new is None:
                yield Finding(Change.WORKFLOW_REMOVED, name, "there", "not there")
            else:
                yield from self._workflow(name, old, new)
        for name in sorted(self.now.workflows.keys() - self.was.workflows.keys()):
            yield Finding(Change.WORKFLOW_ADDED, name, "not there", "there")

    # -- operations ------------------------------------------------------------------------------------------------

    def _removed(self, name: str, was: LockedOperation) -> Iterator[Finding]:
        alike = [
            other
            for other, now in self.now.operations.items()
            if other not in self.was.operations and (now.dependency, now.request) == (was.dependency, was.request)
        ]
        detail = f"it looks as if it had been renamed {alike[0]!r}" if alike else ""
        yield Finding(Change.OPERATION_REMOVED, name, "there", "not there", detail)

    def _operation(self, name: str, was: LockedOperation, now: LockedOperation) -> Iterator[Finding]:
        if was.version != now.version:
            yield Finding(Change.VERSION_CHANGED, name, str(was.version), str(now.version))
        if was.dependency != now.dependency:
            yield Finding(Change.DEPENDENCY_CHANGED, name, was.dependency, now.dependency)
        yield from _effect(name, was.effect, now.effect)
        yield from self._once(name, was, now)
        if was.effect.undoable == now.effect.undoable:  # else the effect's change says it
            yield from _presence(name, was, now)
        if was.timeout != now.timeout:
            change = Change.TIMEOUT_SHORTENED if now.timeout < was.timeout else Change.TIMEOUT_LENGTHENED
            yield Finding(change, name, str(was.timeout), str(now.timeout))
        if was.local != now.local:
            kinds = {True: "a local activity", False: "an activity"}
            yield Finding(Change.LOCAL_CHANGED, name, kinds[was.local], kinds[now.local])
        request = list(compare_types(request_of(name), was.request, now.request, self.types, defaults_matter=True))
        yield from request
        yield from compare_types(result_of(name), was.result, now.result, self.types, defaults_matter=False)
        yield from self._keys(name, was, now, explained=any(found.severity is Severity.BREAKING for found in request))

    def _once(self, name: str, was: LockedOperation, now: LockedOperation) -> Iterator[Finding]:
        if was.once is None or now.once is None:
            return  # a read on one side: the effect has changed
        if was.once.strategy is not now.once.strategy:
            yield Finding(Change.ONCE_CHANGED, name, was.once.strategy.value, now.once.strategy.value)
            return
        old, new = was.once.ttl, now.once.ttl
        if was.once.strategy is not OnceStrategy.BY_KEY or old is None or new is None or old == new:
            return
        change = Change.TTL_SHORTENED if new < old else Change.TTL_LENGTHENED
        detail = ""
        for saga, window in self._windows(name):
            if new < window <= old:
                change, detail = Change.TTL_TOO_SHORT, f"runs of {saga} started before may need it for {window}"
        yield Finding(change, name, str(old), str(new), detail)

    def _windows(self, operation: str) -> Iterator[tuple[str, timedelta]]:
        """How long runs in flight of each saga may still repeat an operation, by what was declared when they began."""
        for name, workflow in self.was.workflows.items():
            if operation in workflow.uses and workflow.deadline is not None and workflow.replay_window is not None:
                yield name, workflow.deadline + workflow.replay_window

    def _keys(self, name: str, was: LockedOperation, now: LockedOperation, *, explained: bool) -> Iterator[Finding]:
        """Keys and fingerprints of the locked samples. ``explained``: that the request broke has been said."""
        if was.key is None or now.key is None:
            return  # a read on one side: the effect has changed
        operation = self.service.operations()[name]
        again = [(sample, sampled(operation, sample.request)) for sample in was.samples]
        other = next(((old, new) for old, new in again if new is not None and new.key != old.key), None)
        if other is not None:
            yield Finding(Change.KEY_CHANGED, name, f"{was.key} ({other[0].key})", f"{now.key} ({other[1].key})")
        elif was.key != now.key:
            yield Finding(Change.KEY_CHANGED, name, was.key, now.key)
        elif not explained and any(new is None or new.fingerprint != old.fingerprint for old, new in again):
            old, new = next((old, new) for old, new in again if new is None or new.fingerprint != old.fingerprint)
            now_is = "none: it makes no key" if new is None else new.fingerprint
            yield Finding(Change.FINGERPRINT_CHANGED, name, old.fingerprint, now_is, f"of the request {old.request}")

    # -- dependencies ----------------------------------------------------------------------------------------------

    def _dependencies(self) -> Iterator[Finding]:
        pairs = {
            (was.dependency, self.now.operations[name].dependency)
            for name, was in self.was.operations.items()
            if name in self.now.operations
        }
        for old, new in sorted(pairs):
            subject = f"dependency {old}" if old == new else f"dependency {new}, formerly {old}"
            yield from compare_dependencies(subject, self.was.dependencies[old], self.now.dependencies[new])

    # -- workflows -------------------------------------------------------------------------------------------------

    def _workflow(self, name: str, was: LockedWorkflow, now: LockedWorkflow) -> Iterator[Finding]:
        if was.deadline != now.deadline:
            yield Finding(Change.DEADLINE_CHANGED, name, str(was.deadline), str(now.deadline))
        if was.replay_window != now.replay_window:
            yield Finding(Change.REPLAY_WINDOW_CHANGED, name, str(was.replay_window), str(now.replay_window))
        if len(was.arguments) != len(now.arguments):
            yield Finding(Change.ARGUMENTS_CHANGED, name, str(len(was.arguments)), str(len(now.arguments)))
        for place, (old, new) in enumerate(zip(was.arguments, now.arguments, strict=False), 1):
            yield from compare_types(argument_of(name, place), old, new, self.types, defaults_matter=True)
        yield from compare_types(result_of(name), was.result, now.result, self.types, defaults_matter=False)


def _effect(name: str, was: Effect, now: Effect) -> Iterator[Finding]:
    if was is now:
        return
    if was is Effect.READ:
        change = Change.EFFECT_ADDED
    elif _STRENGTH[now] < _STRENGTH[was]:
        change = Change.EFFECT_WEAKENED
    elif _STRENGTH[now] > _STRENGTH[was]:
        change = Change.EFFECT_STRENGTHENED
    else:
        change = Change.EFFECT_RENAMED
    yield Finding(change, name, was.value, now.value)


def _presence(name: str, was: LockedOperation, now: LockedOperation) -> Iterator[Finding]:
    for old, new, dropped, added in (
        (was.compensation, now.compensation, Change.COMPENSATION_DROPPED, Change.COMPENSATION_ADDED),
        (was.probe, now.probe, Change.PROBE_DROPPED, Change.PROBE_ADDED),
    ):
        if bool(old) != bool(new):
            yield Finding(dropped if old else added, name, _there(old), _there(new))


def _there(present: bool | None) -> str:
    return {True: "there", False: "not there", None: "not served by any connector"}[present]
