"""``kit replay``: does the code of now still fit the runs that are in flight?

Each recorded history is replayed in the SDK's own Replayer. A replay compares *commands*: it sees another order of
steps, another activity, a missing patch. It does not see *meaning*: other arguments, timeouts, retry rules or types
replay green. So what the code would schedule now is compared with what was scheduled then, argument by argument and
option by option, and every recorded payload is read with the types of now.

What makes a check fail: a history that does not replay, a payload that cannot be read, and a step whose idempotency key
is another one now (its undo would look for an effect that nobody knows). Other differences are told, and fail only a
strict check: a longer timeout is a change one makes on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any, Final

from temporalio import workflow
from temporalio.worker import Plugin

from kit.testing.gates.histories import Recording
from kit.testing.gates.watching import MISSING, Activity, Ask, Difference, Reading, Watched, compare, watch
from kit.worker import ReliabilityPlugin

NOTHING: Final = "nothing more"
"""Stands for an ask that is not there."""

_SHOWN: Final = 500
"""How many characters of what the SDK says are kept."""

_RULE: Final = re.compile(r'message: "(\[TMPRL\d+\][^"]*)"')
"""The one sentence in it that is for people: it begins with the number of a rule."""

_TASK_FAILED: Final = "Workflow activation completion failed"
"""How it speaks of a workflow task that raised."""

KEY: Final = "argument 2.key"
"""Where the token, the second argument of an operation's activity, has the idempotency key."""

_SERVER_RETRY: Final = {
    "initial_interval": 1.0,
    "backoff_coefficient": 2.0,
    "maximum_interval": 100.0,
    "maximum_attempts": 0,
    "non_retryable_error_types": [],
}
"""What the server records when the code gives no retry policy."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where the code of now leaves a recorded history.

    Attributes:
        event: The id of the recorded event that the code does not ask for; of the workflow task, when the code asks for
            more than was recorded.
        recorded: What was asked for.
        now: What the code asks for.
        patch: The patch that the history has met and the code does not know; empty when it is something else.
        unknown: The code has no workflow of this name.
        reason: What the SDK, or the code, says.
    """

    event: int
    recorded: str
    now: str
    patch: str = ""
    unknown: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What the replay cannot see: an activity would be scheduled otherwise now.

    Attributes:
        event: The event that scheduled it.
        activity: Its type.
        key: The idempotency key differs.
        differences: What differs, in its arguments and options.
    """

    event: int
    activity: str
    key: bool
    differences: list[Difference] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of one recorded history.

    Attributes:
        name: The recording's name.
        workflow: The workflow's type.
        events: How many events it has.
        divergence: Where it does not replay; ``None`` when it does.
        unreadable: Payloads that the types of now cannot read.
        altered: Payloads of which the types of now silently make something else.
        changes: What the replay cannot see.
    """

    name: str
    workflow: str
    events: int
    divergence: Divergence | None = None
    unreadable: tuple[Reading, ...] = ()
    altered: tuple[Reading, ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether a run like this one can go on with the code of now."""
        return self.divergence is None and not self.unreadable and not any(change.key for change in self.changes)

    @property
    def unchanged(self) -> bool:
        """Whether the code of now does exactly what was recorded."""
        return self.fits and not self.altered and not self.changes

    def to_json(self) -> dict[str, Any]:
        """It as a document."""
        return {"fits": self.fits, "unchanged": self.unchanged, **asdict(self)}


async def check(
    recordings: Sequence[Recording], *, workflows: Sequence[type], plugins: Sequence[Plugin] = ()
) -> list[Replayed]:
    """Replay recordings on the code that is loaded.

    Args:
        recordings: Which.
        workflows: The workflow classes of the service.
        plugins: What the service's client has for payloads (a codec, a converter); by default the kit's plugin alone.

    Returns:
        One for each recording, in order. Not looked at: the order of results that a history does not have.
    """
    names = {name_of(cls): cls for cls in workflows}
    known = [recording for recording in recordings if recording.workflow in names]
    watched = iter(
        await watch(
            [recording.history for recording in known],
            workflows=list(names.values()),
            plugins=plugins or [ReliabilityPlugin()],
        )
    )
    return [
        judge(recording, next(watched)) if recording.workflow in names else _unknown(recording, sorted(names))
        for recording in recordings
    ]


def name_of(cls: type) -> str:
    """The type under which the server knows a workflow class; the class's own name when it is none."""
    definition = workflow._Definition.from_class(cls)
    return (definition and definition.name) or cls.__name__


def judge(recording: Recording, watched: Watched) -> Replayed:
    """What a replay came to."""
    return Replayed(
        name=recording.name,
        workflow=recording.workflow,
        events=len(recording.events),
        divergence=diverges(watched),
        unreadable=tuple(reading for reading in watched.readings if reading.error),
        altered=tuple(reading for reading in watched.readings if reading.differences),
        changes=tuple(changes_of(watched)),
    )


def _unknown(recording: Recording, known: list[str]) -> Replayed:
    return Replayed(
        name=recording.name,
        workflow=recording.workflow,
        events=len(recording.events),
        divergence=Divergence(
            1,
            f"start the workflow {recording.workflow}",
            "nothing: it has no workflow of that name",
            unknown=True,
            reason=f"the code has {', '.join(known) or 'no workflow'}",
        ),
    )


def diverges(watched: Watched) -> Divergence | None:
    """The first place where the code of now leaves the history; ``None`` when it follows it to its end."""
    if not watched.failure:
        return None
    for task in watched.tasks:
        then = watched.recorded.get(task.started)
        if task.failure:
            recorded = str(then[0]) if then else "go on"
            return Divergence(task.started, recorded, f"fail: {task.failure}", reason=_said(watched.failure))
        for was, now in zip_longest(then or (), task.asks):
            if then is not None and was != now:
                return _differ(task.started, was, now, watched.failure)
    last = watched.tasks[-1].started if watched.tasks else 1
    return Divergence(last, "what the history has after it", "something else", reason=_said(watched.failure))


def _differ(task: int, was: Ask | None, now: Ask | None, failure: str) -> Divergence:
    patch = was.what if was is not None and was.verb == "record the patch" else ""
    return Divergence(
        event=was.event if was is not None else task,
        recorded=str(was or NOTHING),
        now=str(now or NOTHING),
        patch=patch.strip("'"),
        reason=_said(failure),
    )


def changes_of(watched: Watched) -> list[Change]:
    """The activities that the code of now would schedule otherwise than they were."""
    now = watched.activities
    found = []
    for asks in watched.recorded.values():
        for ask in asks:
            then = ask.activity
            if then is None or (other := now.get(then.id)) is None or other.name != then.name:
                continue
            differences = _arguments(then, other) + _options(then, other)
            if differences:
                key = any(difference.path == KEY for difference in differences)
                found.append(Change(ask.event, then.name, key, differences))
    return found


def _arguments(then: Activity, now: Activity) -> list[Difference]:
    pairs = zip_longest(then.arguments, now.arguments, fillvalue=MISSING)
    return [
        difference
        for place, (was, other) in enumerate(pairs, 1)
        for difference in compare(was, other, path=f"argument {place}")
    ]


def _options(then: Activity, now: Activity) -> list[Difference]:
    """The options that differ, but for what the server decides: it caps timeouts and fills in the retry policy."""
    asked = {"retry_policy": _SERVER_RETRY, **now.options}
    if asked["retry_policy"]["maximum_interval"] == 0:
        policy = asked["retry_policy"]
        asked["retry_policy"] = {**policy, "maximum_interval": policy["initial_interval"] * 100}
    limit = asked.get("schedule_to_close_timeout")
    if limit is not None:
        asked["start_to_close_timeout"] = min(asked.get("start_to_close_timeout", limit), limit)
    # Without a schedule-to-close timeout the server writes the run's own, which is none for a saga.
    return compare(then.options, asked)


def _said(failure: str) -> str:
    """What the SDK says, without the message of its protocol around it."""
    found = _RULE.search(failure)
    if found:
        return found[1]
    # A task that failed says why itself; the SDK has only a stack of its own to add.
    return "" if _TASK_FAILED in failure else failure[:_SHOWN]
