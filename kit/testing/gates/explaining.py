"""What a replay came to, in words: what was expected, what the code does, what that means, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from kit.testing.gates.replaying import Divergence, Replayed

_FAILED: Final = "fail: "
"""How what the code does now begins, where it raises."""

_STUCK: Final = (
    "A run that is past this point cannot go on with this code: its workflow task fails again and again. Nothing of it "
    "is undone and nothing is lost; it stands still until code that fits is deployed. A run before this point goes on."
)
_PATCHED: Final = (
    "A run that met the patch cannot go on with code that does not know it: its workflow task fails again and again, "
    "until code that asks for the patch is deployed."
)
_UNKNOWN: Final = "No run of it goes on, nor does a new one start: its workflow tasks fail until the class is back."
_FAILS: Final = (
    "The code itself fails when it plays this run again: its workflow task fails again and again, until code that does "
    "not is deployed."
)
_UNREADABLE: Final = (
    "A run that holds it cannot be carried on by this code: it stands still, its workflow task or its activity failing "
    "again and again, until code that can read it is deployed. Nothing of it is undone and nothing is lost."
)
_READABLE: Final = (
    "What to do: give the type a default for what is new, keep what is old until no run holds it any more, or give the "
    "operation a new name."
)
_KEY: Final = (
    "A run in flight would look for its effect under another key than the one it was made with: a retry has the effect "
    "again, and an undo finds nothing to undo."
)


def told(replayed: Sequence[Replayed]) -> Iterator[str]:
    """Every history on a line, with what is wrong below it, and the sum."""
    width = max((len(one.name) for one in replayed), default=0)
    said: set[str] = set()
    for one in replayed:
        yield f"{one.name:<{width}}  {_word(one)}  ({one.workflow}, {one.events} events)"
        if (left := _leaves(one)) is not None:
            yield f"    event {left.event}: the history has {left.recorded!r}, the code now does {left.now!r}"
        again = 0
        for event, line in _why(one):
            # One change is found in many histories, and again and again in each: what it is is said once.
            if line not in said:
                yield f"    event {event}: {line}" if event else f"    {line}"
            elif event:
                again += 1
            said.add(line)
        if again:
            yield f"    {again} more of what is said above"
    wrong = sum(not one.fits for one in replayed)
    other = sum(one.fits and not one.unchanged for one in replayed)
    yield f"{_counted(len(replayed))}: {len(replayed) - wrong} fit the code, {wrong} do not" + (
        f"; {other} fit and would do something otherwise now" if other else ""
    )


def _counted(histories: int) -> str:
    return f"{histories} {'history' if histories == 1 else 'histories'}"


def _leaves(one: Replayed) -> Divergence | None:
    """Where the code leaves the history, unless only because it cannot read what is in it."""
    found = one.divergence
    return None if found is not None and one.unreadable and found.now.startswith(_FAILED) else found


def _word(one: Replayed) -> str:
    if _leaves(one) is not None:
        return "DIVERGES"
    if not one.fits:
        return "DOES NOT FIT"
    return "replays" if one.unchanged else "replays, changed"


def _why(one: Replayed) -> Iterator[tuple[int, str]]:
    """The event that each thing is about, 0 for what is about all of them, and what there is to say."""
    found = _leaves(one)
    if found is not None:
        yield from ((0, line) for line in _divergence(found, one.workflow))
    for reading in one.unreadable:
        yield reading.event, f"{reading.what} cannot be read as {reading.type}: {reading.error}"
    if one.unreadable:
        yield 0, _UNREADABLE
        yield 0, _READABLE
    for reading in one.altered:
        listed = "; ".join(str(difference) for difference in reading.differences)
        yield reading.event, f"{reading.what}, read as {reading.type}, is not what was written: {listed}"
    for change in one.changes:
        listed = "; ".join(str(difference) for difference in change.differences)
        yield change.event, f"schedule {change.activity} would be otherwise now: {listed}"
        if change.key:
            yield 0, _KEY
            yield 0, "What to do: keep the key template; a new key needs a new operation."


def _divergence(found: Divergence, workflow: str) -> Iterator[str]:
    """What a divergence means, and what to do."""
    if found.patch:
        yield _PATCHED
        yield (
            f"What to do: keep workflow.patched({found.patch!r}) until no open run has met it, then "
            f"workflow.deprecate_patch({found.patch!r}) for as long again."
        )
    elif found.unknown:
        yield _UNKNOWN
        yield (
            "What to do: keep a class of that name until no run of it is open: temporal workflow count --query "
            f"\"WorkflowType='{workflow}' AND ExecutionStatus='Running'\""
        )
    elif found.now.startswith(_FAILED):
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
