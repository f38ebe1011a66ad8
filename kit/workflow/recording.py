"""What an entity writes down of its events: in its memory, in the log, and as metrics."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from temporalio import workflow

from kit.contract import Drift
from kit.telemetry import Event, count, names
from kit.workflow.events import KEPT, EntityEvent, FailedEvent, Fate, Memory, Stuck
from kit.workflow.run import Run

DUPLICATE: Final = "duplicate"
UNREADABLE: Final = "unreadable"
GAPS: Final = "gaps"
"""What is counted beside the fates."""


class Records:
    """What was counted, and the latest failures and drifts.

    Args:
        memory: What earlier runs remember.
        run: Whose log is written to.
    """

    def __init__(self, memory: Memory, run: Run) -> None:
        self._run = run
        self._counts = Counter(memory.counts)
        self.failed = memory.failed
        self.drift = memory.drift

    @property
    def counts(self) -> dict[str, int]:
        """How many of each, in a fixed order."""
        return {name: self._counts[name] for name in sorted(self._counts)}

    def dealt_with(self, fate: Fate) -> None:
        """Count an event that had its turn."""
        self._count(fate.value)

    def duplicate(self, event: EntityEvent[Any], fate: Fate) -> None:
        """An event has come again."""
        self._count(DUPLICATE)
        self._run.log.info(Event.EVENT_DUPLICATE, **self._facts(event), fate=fate.value)

    def stale(self, event: EntityEvent[Any], *, applied: int | None) -> None:
        """An event was dropped: a later version was dealt with before."""
        self._count(Fate.STALE.value)
        self._run.log.warning(Event.EVENT_STALE, **self._facts(event), version=event.version, applied=applied)

    def gap(self, event: EntityEvent[Any], *, applied: int) -> None:
        """A gap was passed: what is missing is stale from now on."""
        self._counts[GAPS] += 1
        count(workflow.metric_meter(), names.ENTITY_GAPS, workflow_type=workflow.info().workflow_type)
        self._run.log.warning(Event.EVENT_GAP, **self._facts(event), version=event.version, applied=applied)

    def unreadable(self, error: Exception) -> None:
        """A signal brought something that is no event."""
        self._count(UNREADABLE)
        self._run.log.error(Event.EVENT_UNREADABLE, **self._run.facts, error=str(error))

    def gave_up(self, stuck: Stuck, *, who: str | None) -> None:
        """The entity goes on without an event."""
        event = stuck.event
        failed = FailedEvent(event=event, reason=stuck.reason, why=stuck.why, at=workflow.now(), who=who)
        self.failed = (*self.failed, failed)[-KEPT:]
        self._run.log.error(Event.EVENT_FAILED, **self._facts(event), reason=stuck.reason, who=who)

    def drifted(self, drift: tuple[Drift, ...]) -> None:
        """Writes were dropped, because their writers do not own the fields."""
        self.drift = (*self.drift, *drift)[-KEPT:]
        for each in drift:
            count(
                workflow.metric_meter(),
                names.DRIFT,
                workflow_type=workflow.info().workflow_type,
                field=each.field if each.owner else "unowned",
            )
            self._run.log.warning(
                Event.DRIFT, **self._run.facts, field=each.field, owner=each.owner, writer=each.writer
            )

    def _count(self, result: str) -> None:
        self._counts[result] += 1
        kind = workflow.info().workflow_type
        count(workflow.metric_meter(), names.ENTITY_EVENTS, workflow_type=kind, result=result)

    def _facts(self, event: EntityEvent[Any]) -> dict[str, Any]:
        return {**self._run.facts, "event_id": event.id, "source": event.source}
