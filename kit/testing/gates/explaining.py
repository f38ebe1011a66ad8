"""What a replay came to, in words: what was expected, what the code does, what that means, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from kit.testing.gates.replaying import Divergence, Replayed
from kit.testing.gates.watching import Reading

_STUCK: Final = (
    "A run that is past this point cannot go on with this code: its workflow task fails again and again. Nothing of it "
    "is undone and nothing is lost; it stands still until code that fits is deployed. A run before this point goes on."
)
_PATCHED: Final = (
    "A run that met the patch cannot go on with code that does not know it: its workflow task fails again and again, "
    "until code that asks for the patch is deployed."
)
_FAILS: Final = (
    "The code itself fails when it plays this run again: its workflow task fails again and again, until code that does "
    "not is deployed."
)
_UNREADABLE: Final = (
    "A run that holds it cannot be carried on by this code. Where a workflow reads it the run fails at once, without "
    "undoing anything; where an activity does, its attempts fail until code that can read it is deployed."
)
_KEY: Final = (
    "A run in flight would look for its effect under another key than the one it was made with: a retry has the effect "
    "again, and an undo finds nothing to undo."
)


def told(replayed: Sequence[Replayed]) -> Iterator[str]:
    """Every history on a line, with what is wrong below it, and the sum."""
    width = max((len(one.name) for one in replayed), default=0)
    advised: set[str] = set()
    for one in replayed:
        yield f"{one.name:<{width}}  {_word(one)}  ({one.workflow}, {one.events} events)"
        for line in _why(one):
            # One change breaks many histories: what to do about it is said once.
            if line.startswith("event ") or line not in advised:
                yield f"    {line}"
            advised.add(line)
    wrong = sum(not one.fits for one in replayed)
    other = sum(one.fits and not one.unchanged for one in replayed)
    yield f"{len(replayed)} histories: {len(replayed) - wrong} fit the code, {wrong} do not" + (
        f"; {other} fit and would do something otherwise now" if other else ""
    )


def _word(one: Replayed) -> str:
    if one.divergence is not None:
        return "DIVERGES"
    if not one.fits:
        return "DOES NOT FIT"
    return "replays" if one.unchanged else "replays, changed"


def _why(one: Replayed) -> Iterator[str]:
    if one.divergence is not None:
        yield from _divergence(one.divergence, one.workflow)
    for reading in one.unreadable:
        yield f"event {reading.event}: {reading.what} cannot be read as {reading.type}: {reading.error}"
    if one.unreadable:
        yield _UNREADABLE
        yield (
            "What to do: give the type a default for what is new, keep what is old until no run holds it any more, or "
            "give the operation a new name."
        )
    for reading in one.altered:
        yield from _altered(reading)
    for change in one.changes:
        listed = "; ".join(str(difference) for difference in change.differences)
        yield f"event {change.event}: schedule {change.activity} would be otherwise now: {listed}"
        if change.key:
            yield _KEY
            yield "What to do: keep the key template; a new key needs a new operation."


def _altered(reading: Reading) -> Iterator[str]:
    listed = "; ".join(str(difference) for difference in reading.differences)
    yield f"event {reading.event}: {reading.what}, read as {reading.type}, is not what was written: {listed}"


def _divergence(found: Divergence, workflow: str) -> Iterator[str]:
    yield f"event {found.event}: the history has {found.recorded!r}, the code now does {found.now!r}"
    if found.patch:
        yield _PATCHED
        yield (
            f"What to do: keep workflow.patched({found.patch!r}) until no open run has met it, then "
            f"workflow.deprecate_patch({found.patch!r}) for as long again."
        )
    elif found.now.startswith("fail: "):
        yield _FAILS
        yield "What to do: run it in a debugger with the history, or go back to the code that recorded it."
    else:
        yield _STUCK
        yield "What to do, one of:"
        yield (
            "- keep the old way for the runs that are past it: if workflow.patched('<what changed>'): the new way, "
            "else the old way. Then ask `kit rollback-check`: once a run has met a patch it cannot be rolled back."
        )
        yield (
            "- deploy it as a new worker version, the workflow PINNED: each run ends on the version it began with, "
            "whose workers stay up until they are drained."
        )
        yield (
            "- wait until no such run is open: temporal workflow count --query "
            f"\"WorkflowType='{workflow}' AND ExecutionStatus='Running'\""
        )
    if found.reason:
        yield f"The SDK says: {found.reason}"
