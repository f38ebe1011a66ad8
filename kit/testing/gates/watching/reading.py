"""What the code makes of recorded payloads: which it cannot read, and of which it silently makes something else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import PayloadConverter, SerializationContext, WithSerializationContext

from .asks import document
from .differences import Difference, compare


@dataclass(frozen=True, slots=True)
class Reading:
    """One payload, as the code reads it.

    Attributes:
        event: The event that holds it; 0 when that is not known.
        what: What it is, such as ``the result of payments.authorize``.
        type: The type it is read as.
        error: Why it cannot be read; empty when it can.
        differences: What it reads is not what was written.
    """

    event: int
    what: str
    type: str
    error: str = ""
    differences: list[Difference] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether it reads what was written."""
        return not self.error and not self.differences


def read(converter: PayloadConverter, payload: Payload, hint: Any, *, event: int, what: str) -> Reading:
    """Read one payload as a type, and write it again to see whether it is the same."""
    name = _name(hint)
    try:
        value = converter.from_payloads([payload], [hint])[0]
        again = document(converter.to_payloads([value])[0])
    except Exception as error:  # whatever a type raises is what is asked for
        return Reading(event, what, name, error=_said(error))
    return Reading(event, what, name, differences=compare(document(payload), again))


class Reader(PayloadConverter, WithSerializationContext):
    """A payload converter that tells of everything it reads, and otherwise is the one it was given."""

    def __init__(self, inner: PayloadConverter, tell: Callable[[Payload, Any], None]) -> None:
        self._inner = inner
        self._tell = tell

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """See base class."""
        return self._inner.to_payloads(values)

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """See base class."""
        hints: Sequence[Any] = type_hints or [None] * len(payloads)
        for payload, hint in zip(payloads, hints, strict=False):
            self._tell(payload, hint)
        return self._inner.from_payloads(payloads, type_hints)

    def with_context(self, context: SerializationContext) -> Reader:
        """See base class."""
        inner = self._inner
        return Reader(inner.with_context(context), self._tell) if isinstance(inner, WithSerializationContext) else self


def places(events: Iterable[HistoryEvent]) -> dict[tuple[bytes, bytes], tuple[int, str]]:
    """Where each payload that a workflow reads stands in its history: the event, and what it is.

    Two payloads with the same bytes count as one: what becomes of one becomes of the other.
    """
    found: dict[tuple[bytes, bytes], tuple[int, str]] = {}
    names: dict[int, str] = {}
    for event in events:
        kind = event.WhichOneof("attributes") or ""
        told = getattr(event, kind) if kind else None
        for what, payloads in _payloads(kind.removesuffix("_event_attributes"), told, names, event.event_id):
            for payload in payloads:
                found.setdefault(fingerprint(payload), (event.event_id, what))
    return found


def _payloads(kind: str, told: Any, names: dict[int, str], event: int) -> Iterable[tuple[str, Sequence[Payload]]]:
    match kind:
        case "workflow_execution_started":
            yield "the workflow's argument", told.input.payloads
        case "activity_task_scheduled":
            names[event] = told.activity_type.name
        case "activity_task_completed":
            yield f"the result of {names.get(told.scheduled_event_id, 'an activity')}", told.result.payloads
        case "activity_task_failed":
            yield from _failure(f"the failure of {names.get(told.scheduled_event_id, 'an activity')}", told.failure)
        case "child_workflow_execution_completed":
            yield f"the result of the child workflow {told.workflow_type.name}", told.result.payloads
        case "workflow_execution_signaled":
            yield f"an argument of the signal {told.signal_name}", told.input.payloads
        case "workflow_execution_update_accepted":
            request = told.accepted_request.input
            yield f"an argument of the update {request.name}", request.args.payloads
        case _:
            return


def _failure(what: str, failure: Any) -> Iterable[tuple[str, Sequence[Payload]]]:
    while True:
        if failure.HasField("application_failure_info"):
            yield f"the details of {what}", failure.application_failure_info.details.payloads
        if not failure.HasField("cause"):
            return
        failure = failure.cause


def fingerprint(payload: Payload) -> tuple[bytes, bytes]:
    """What tells one payload from another."""
    return payload.metadata.get("encoding", b""), payload.data


def _name(hint: Any) -> str:
    return "anything" if hint in (None, Any) else getattr(hint, "__name__", None) or str(hint)


def _said(error: BaseException) -> str:
    """What an error says, on one line: field by field where a model refuses a document."""
    refused = error
    while not isinstance(refused, ValidationError) and refused.__cause__ is not None:
        refused = refused.__cause__
    if isinstance(refused, ValidationError):
        listed = refused.errors(include_url=False, include_context=False)
        return "; ".join(f"{'.'.join(str(part) for part in one['loc']) or 'it'}: {one['msg']}" for one in listed)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
