"""What a service promises now, read from its classes: the workflows it runs, the operations they use and are served."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from temporalio import workflow

from kit.contract import Dependency, Operation, Retry, Role, Verdict, fingerprint
from kit.errors import DefinitionError
from kit.testing.gates.contracts.documents import documents
from kit.testing.gates.contracts.lock import (
    Lock,
    LockedDependency,
    LockedOnce,
    LockedOperation,
    LockedType,
    LockedWorkflow,
    Sample,
)
from kit.testing.gates.contracts.reading import adapter_of, locked_type
from kit.worker.connector import Connector, Handlers
from kit.workflow import SagaWorkflow

WORKFLOW_ID: Final = "workflow-1"
"""The business id in sample keys."""

_ALWAYS: Final = 2
"""The first documents of a schema: the plain and the sparse one."""

_SAMPLES: Final = 3
"""Samples of one operation."""


@dataclass(frozen=True)
class Service:
    """The workflows and connectors of a service, as classes.

    Raises:
        DefinitionError: Two operations share a name, a class is no workflow, or a type cannot be described.
    """

    workflows: Sequence[type] = ()
    connectors: Sequence[type[Connector]] = ()

    def operations(self) -> dict[str, Operation[Any, Any]]:
        """The operations that its workflows use and its connectors serve, by name."""
        found: dict[str, Operation[Any, Any]] = {}
        served = [handlers.operation for connector in self.connectors for handlers in connector.handlers.values()]
        used = [operation for saga in self._sagas() for operation in saga.__saga__.operations.values()]
        for operation in (*served, *used):
            if found.setdefault(operation.name, operation) is not operation:
                raise DefinitionError(
                    f"operation {operation.name!r}",
                    rule="two different operations have this name",
                    fix="import the one contract everywhere",
                )
        return dict(sorted(found.items()))

    def types(self) -> dict[str, TypeAdapter[Any]]:
        """What reads each locked type, by the name that findings call it."""
        found: dict[str, TypeAdapter[Any]] = {}
        for name, operation in self.operations().items():
            found[request_of(name)] = adapter_of(operation.request)
            found[result_of(name)] = adapter_of(operation.result)
        for name, cls in self._workflows().items():
            arguments, result = _signature(cls)
            found |= {argument_of(name, place): adapter_of(type_) for place, type_ in enumerate(arguments, 1)}
            found[result_of(name)] = adapter_of(result)
        return found

    def lock(self) -> Lock:
        """What is promised, as the lock has it."""
        operations = self.operations()
        served = {name: found for connector in self.connectors for name, found in connector.handlers.items()}
        dependencies = {operation.dependency.name: operation.dependency for operation in operations.values()}
        return Lock(
            dependencies={name: _dependency(dependency) for name, dependency in dependencies.items()},
            operations={name: _operation(operation, served.get(name)) for name, operation in operations.items()},
            workflows={name: _workflow(name, cls) for name, cls in self._workflows().items()},
        )

    def _sagas(self) -> list[type[SagaWorkflow]]:
        return [cls for cls in self.workflows if issubclass(cls, SagaWorkflow)]

    def _workflows(self) -> dict[str, type]:
        """The workflow classes, by workflow type. One that takes every type has no name and no contract."""
        named = ((_definition(cls).name, cls) for cls in self.workflows)
        return {name: cls for name, cls in named if name is not None}


def request_of(operation: str) -> str:
    """What findings call an operation's request."""
    return f"request of {operation}"


def result_of(name: str) -> str:
    """What findings call the result of an operation or a workflow."""
    return f"result of {name}"


def argument_of(name: str, place: int) -> str:
    """What findings call an argument of a workflow, counted from 1."""
    return f"argument {place} of {name}"


def _definition(cls: type) -> Any:
    definition = workflow._Definition.from_class(cls)
    if definition is None:
        raise DefinitionError(
            f"class {cls.__qualname__!r}", rule="it is no workflow", fix="decorate it with @workflow.defn"
        )
    return definition


def _signature(cls: type) -> tuple[Sequence[Any], Any]:
    definition = _definition(cls)
    # A run method without hints reads and returns whatever JSON there is.
    result = Any if definition.ret_type is None and "return" not in cls.run.__annotations__ else definition.ret_type  # type: ignore[attr-defined] # every workflow has a run method
    return definition.arg_types or (), result


def _operation(operation: Operation[Any, Any], handlers: Handlers | None) -> LockedOperation:
    once = operation.once
    request = locked_type(request_of(operation.name), operation.request)
    return LockedOperation(
        version=operation.version,
        dependency=operation.dependency.name,
        effect=operation.effect,
        once=None if once is None else LockedOnce(strategy=once.strategy, ttl=once.ttl),
        key=operation.key,
        timeout=operation.timeout,
        local=operation.local,
        compensation=None if handlers is None else Role.COMPENSATION in handlers.methods,
        probe=None if handlers is None else Role.PROBE in handlers.methods,
        request=request,
        result=locked_type(result_of(operation.name), operation.result),
        samples=_samples(operation, request),
    )


def _samples(operation: Operation[Any, Any], request: LockedType) -> tuple[Sample, ...]:
    """The plain request, the sparse one, and one of another key: the first of those has what keys escape."""
    found: list[Sample] = []
    for place, document in enumerate(documents(request.shape)):
        sample = sampled(operation, document)
        if sample is None or sample in found:
            continue
        if place < _ALWAYS or sample.key not in {known.key for known in found}:
            found.append(sample)
    return tuple(found[:_SAMPLES])


def sampled(operation: Operation[Any, Any], document: Any) -> Sample | None:
    """A request with its key and fingerprint; ``None`` where the operation does not read it or makes no key of it."""
    try:
        request = operation.request.model_validate_json(json.dumps(document))
        key = operation.key_for(request, workflow_id=WORKFLOW_ID)
    except (ValidationError, ValueError):
        return None
    return Sample(
        request=request.model_dump(mode="json", by_alias=True),
        key=key,
        fingerprint=fingerprint(operation.name, request),
    )


def _dependency(dependency: Dependency) -> LockedDependency:
    failures = dependency.failures
    ranges = {f"{digit}xx": _verdict(verdict) for digit, verdict in failures.ranges.items()}
    return LockedDependency(
        settle=dependency.settle,
        classes={name: _verdict(verdict) for name, verdict in failures.classes.items()},
        statuses={str(status): _verdict(verdict) for status, verdict in failures.statuses.items()} | ranges,
        retry={kind.value: _retry(rule) for kind, rule in dependency.retry.items()},
    )


def _verdict(verdict: Verdict) -> str:
    return f"{verdict.outcome.value} {verdict.kind.value}"


def _retry(rule: Retry) -> str:
    attempts = "unlimited" if rule.attempts is None else str(rule.attempts)
    return f"{attempts} attempts, {rule.base.total_seconds():g}s to {rule.cap.total_seconds():g}s"


def _workflow(name: str, cls: type) -> LockedWorkflow:
    arguments, result = _signature(cls)
    saga: Mapping[str, Any] = {}
    if issubclass(cls, SagaWorkflow):
        declared = cls.__saga__
        saga = {
            "deadline": declared.deadline,
            "replay_window": declared.replay_window,
            "uses": tuple(sorted(declared.operations)),
        }
    return LockedWorkflow(
        arguments=tuple(locked_type(argument_of(name, place), type_) for place, type_ in enumerate(arguments, 1)),
        result=locked_type(result_of(name), result),
        **saga,
    )
