"""The words and marks in which a report speaks of faults, endings and times."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from kit.contract import Effect, Once, OnceStrategy, Operation
from kit.testing.faults import FaultKind, Scenario
from kit.testing.runs import Ending
from kit.workflow import Task

FAULTS: Final[Mapping[str, str]] = {
    "refused": "the provider says no, for good, and does nothing",
    "outage": "the provider cannot be reached by this call and the next, then it is back",
    "rate_limited": "the provider says “too many, later” and does nothing",
    "reply_lost": "the provider does the work, and the reply is lost",
    "replies_lost": "the provider does the work, and this reply and every later one is lost",
    "too_slow": "the provider does the work, and its reply comes after the attempt is over",
    "late_after_retry": "the attempt ends without a reply, and the request takes effect after its retry",
    "late_after_undo": "the attempt ends without a reply, and the request takes effect after its undo",
    "twice": "the request is delivered twice",
    "final_error": "the provider does the work, and answers with an error that nobody can classify",
    "server_error": "the provider does the work, and a proxy answers with a server error",
    "held": "a hold is on for this call and the next, then off",
    "unrecorded": "the effect cannot be written down while the attempt lasts",
    "stalled": "the worker freezes after the effect, before the record, and goes on when its lease is over",
    "crash_before": "the worker dies before the request goes out",
    "crash_after": "the worker dies after the effect, before the record",
    "crash_recorded": "the worker dies after the record, before Temporal hears of it",
    "cancel_before": "the run is cancelled before this call is taken up",
    "cancel_during": "the run is cancelled while the call is at work",
    "cancel_with_result": "a cancel and the result reach the workflow in one workflow task",
    "terminated": "the run is terminated while the call is at work",
    "started_again": "the same request is started under another workflow id while the call is at work",
    "handed_over": "from here on the previous version of the workflow runs it",
}
"""What a kind of fault is, in half a sentence. A test compares it with the vocabulary."""

MARKS: Final[Mapping[Ending, str]] = {
    Ending.COMPLETED: "✓",
    Ending.COMPENSATED: "↩",
    Ending.CANCELLED: "⊗",
    Ending.PARKED: "?",
    Ending.TERMINATED: "⊘",
    Ending.FAILED: "!",
    Ending.STUCK: "∞",
}
"""A character for each ending: colour is never the only sign."""

SAFE: Final = "✓"
"""The mark of a workflow in which every invariant held."""

VIOLATED: Final = "✗"
"""The mark of a scenario in which an invariant does not hold."""

ENDINGS: Final[Mapping[Ending, str]] = {
    Ending.COMPLETED: "completed",
    Ending.COMPENSATED: "compensated: it failed and undid what it did",
    Ending.CANCELLED: "cancelled, and it undid what it did",
    Ending.PARKED: "parked: a person is asked",
    Ending.TERMINATED: "terminated: no code of it ran again",
    Ending.FAILED: "failed without compensation",
    Ending.STUCK: "stuck: it neither ends nor asks",
}
"""What an ending means, in half a sentence."""

EFFECTS: Final[Mapping[Effect, str]] = {
    Effect.READ: "changes nothing",
    Effect.REVERSIBLE: "can be taken back as if it had not happened",
    Effect.COMPENSATABLE: "can be made good by a counter-action that stays visible",
    Effect.RECONCILABLE: "has no automatic undo: it is looked up, and a person repairs it",
    Effect.IRREVERSIBLE: "cannot be taken back",
}
"""What can be done about an effect, in half a sentence."""

ONCE: Final[Mapping[OnceStrategy, str]] = {
    OnceStrategy.BY_KEY: "the provider honours an idempotency key for the time given",
    OnceStrategy.BY_PROBE: "the connector looks up whether it happened",
    OnceStrategy.BY_STATE: "it compares and writes, so repeating it is harmless",
    OnceStrategy.BY_TRANSACTION: "effect and ledger row commit together",
    OnceStrategy.NEVER_TWICE: "nobody but a person can tell whether it happened",
}
"""How a once-strategy keeps an operation to one effect, in half a sentence."""

_DAYS: Final = 3 * 86400
"""From this many seconds on a time is told in days: what is agreed on is 24 hours, and not a day."""

_SHORT: Final = 240
"""The most characters of an error that a page or a summary shows; ``--explain`` has all of it."""

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_ONCE: Final[Mapping[OnceStrategy, str]] = {
    OnceStrategy.BY_KEY: "by key",
    OnceStrategy.BY_PROBE: "by probe",
    OnceStrategy.BY_STATE: "by state",
    OnceStrategy.BY_TRANSACTION: "by transaction",
    OnceStrategy.NEVER_TWICE: "never twice",
}


def fault(kind: FaultKind) -> str:
    """What a kind of fault is."""
    return FAULTS.get(kind, kind.value.replace("_", " "))


def span(time: timedelta) -> str:
    """A length of time, such as ``24 h``, ``1 min 30 s`` or ``0.25 s``; its two largest units."""
    seconds = time.total_seconds()
    if seconds < 60:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s"
    parts: list[str] = []
    for size, unit in _UNITS if seconds >= _DAYS else _UNITS[1:]:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count:.0f} {unit}")
    return " ".join(parts[:2])


def once(strategy: Once | None) -> str:
    """How an operation is kept to one effect, such as ``by key, 24 h``."""
    if strategy is None:
        return "nothing to keep"
    return _ONCE[strategy.strategy] + (f", {span(strategy.ttl)}" if strategy.ttl is not None else "")


def effect(operation: Operation[Any, Any]) -> str:
    """An operation's effect, such as ``compensatable``."""
    return operation.effect.value if operation.effect is not Effect.READ else "read only"


def cause(task: Task) -> str:
    """Why a person is asked, such as ``declined (card_declined)``; the kind of task where nothing has failed."""
    return f"{task.failure.kind} ({task.failure.reason})" if task.failure else task.kind.value


def command(workflow: str, scenario: Scenario, *, explain: bool = False) -> str:
    """The command line that runs one scenario again."""
    return f"kit verify {workflow} --{'explain' if explain else 'only'} '{scenario}'"


def names(text: str, name: str) -> bool:
    """Whether a text names an operation or a key: ``ship:7`` is not named where ``ship:77`` stands."""
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|[:.](?!undo\b|probe\b)\w)", text) is not None


def short(text: str) -> str:
    """The beginning of a long text: an error of a library may carry its whole chain of causes."""
    return text if len(text) <= _SHORT else text[: _SHORT - 2].rsplit(" ", 1)[0] + " …"


def bound(depth: int) -> str:
    """How many faults a scenario has at most."""
    return f"≤ {count(depth, 'fault')}"


def place(file: str) -> str:
    """A file as it is shown: from the current folder if it lies below it."""
    path = Path(file)
    here = Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else file


def count(number: int, thing: str, *, plural: str | None = None) -> str:
    """A number of things, such as ``1 scenario`` or ``1,204 scenarios``."""
    return f"{number:,} {thing if number == 1 else plural or thing + 's'}"
