"""One attempt: its identity, its time, and how many of which kind failed before it."""

from __future__ import annotations

import itertools
import os
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from temporalio import activity
from temporalio.common import MetricMeter

from kit.contract import HELD_PAUSE, FailureKind
from kit.worker.context import elapsed
from kit.workflow import Source

LOST: Final = "lost"
"""Counts attempts that ended without a word: the worker died, or the attempt ran into its timeout."""

WAITING: Final = "waiting"
"""Counts attempts that cost no cap: the key was held, the truth had not settled, the worker was told to stop."""


MAX_LOCAL: Final = 10_000
"""How many local activities between two attempts are remembered in a process."""

_local: Final[OrderedDict[tuple[str, str, int], dict[str, int]]] = OrderedDict()
"""The counts of local activities, which have no heartbeat to carry them: a run's local attempts stay in one process."""

PROCESS: Final = uuid.uuid4().hex
_numbers: Final = itertools.count(1)


def _unique() -> str:
    """Like nothing else, ever.

    Without the system's random numbers, which cost the interpreter's lock: the ledger's thread takes it meanwhile, and
    getting it back takes longer than everything else the guard does.
    """
    return f"{PROCESS}-{os.getpid():x}-{next(_numbers)}"  # a forked process has the same numbers


def _remember_local(place: tuple[str, str, int], counts: Mapping[str, int]) -> None:
    _local[place] = dict(counts)
    if len(_local) > MAX_LOCAL:
        _local.popitem(last=False)


def _forget(counts: Mapping[str, int]) -> None:
    return None


@dataclass(slots=True)
class Attempt:
    """One attempt of an action or an undo.

    Time is the Temporal server's: the instant at which it started the attempt plus what has passed here since. So
    leases compare on one clock whatever the workers' clocks say, and follow virtual time under time skipping.

    Attributes:
        number: From 1.
        started_at: When the server started it.
        timeout: Its start-to-close timeout.
        counts: How many earlier attempts failed, by kind of failure. Attempts carry it from one to the next in
            their heartbeat details; those that died without a word are what is missing to ``number``.
        owner: Its identity in the ledger, unique for ever.
        remember: Hands ``counts`` to the next attempt.
        meter: Where it counts.
        source: Where its result came from, once it has one.
        workflow_type: Of the run.
        scheduled_at: When its step was scheduled; ``None`` outside Temporal.
        clock: Seconds that only go forward; what has passed here since ``started_at`` is measured by it.

    What is not seen: how long the server's word took to get here. The attempt believes it began that much later than
    it did, so its cut-off is late by as much; the time between cut-off and the end of the lease must cover it: a tenth
    of the timeout, and the margin of the lease (`kit.worker.work.LEASE_MARGIN`).
    """

    number: int
    started_at: datetime
    timeout: timedelta
    counts: dict[str, int] = field(default_factory=dict)
    owner: str = ""
    remember: Callable[[Mapping[str, int]], None] = _forget
    meter: MetricMeter = field(default_factory=lambda: MetricMeter.noop)
    source: Source = Source.FRESH
    workflow_type: str = ""
    scheduled_at: datetime | None = None
    clock: Callable[[], float] = elapsed
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        """Complete the identity and count the attempts that ended without a word."""
        self._began = self.clock()
        self.owner = self.owner or _unique()
        if (lost := self.number - 1 - sum(self.counts.values())) > 0:
            self.counts[LOST] = self.counts.get(LOST, 0) + lost

    @classmethod
    def current(cls, *, step: int = 0) -> Attempt:
        """The attempt of the activity that is running in this task.

        Args:
            step: The number of its step in the run; tells the local activities of a run apart.
        """
        info = activity.info()
        details = info.heartbeat_details
        counts = details[0] if details and isinstance(details[0], dict) else {}
        place = (info.workflow_run_id or "", info.activity_type, step)
        if info.is_local:
            # Another process counted what is not known here: it cannot have been lost, so it costs no cap.
            counts = _local.pop(place, {WAITING: info.attempt - 1} if info.attempt > 1 else {})
        return cls(
            number=info.attempt,
            started_at=info.started_time,
            timeout=info.start_to_close_timeout or timedelta(seconds=10),
            counts={str(kind): int(number) for kind, number in counts.items()},
            owner=f"{info.workflow_run_id}/{info.activity_id}/{info.attempt}/{_unique()}",
            remember=partial(_remember_local, place) if info.is_local else activity.heartbeat,
            meter=activity.metric_meter(),
            workflow_type=info.workflow_type or "",
            scheduled_at=info.scheduled_time,
        )

    @classmethod
    def direct(cls, *, timeout: timedelta, number: int = 1, started_at: datetime | None = None) -> Attempt:
        """An attempt outside Temporal, for checks of connectors."""
        return cls(number=number, started_at=started_at or datetime.now(UTC), timeout=timeout)

    @property
    def held(self) -> float:
        """Seconds for which earlier attempts were held back, at least."""
        return self.counts.get(FailureKind.HELD.value, 0) * HELD_PAUSE.total_seconds()

    @property
    def now(self) -> datetime:
        """The server's time, as far as it can be known here."""
        return self.started_at + timedelta(seconds=self.clock() - self._began)

    @property
    def cut_off(self) -> datetime:
        """When the attempt must be over: before the server gives up on it, so that the guard still hears of it."""
        return self.started_at + self.timeout * 0.9
