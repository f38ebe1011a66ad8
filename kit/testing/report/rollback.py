"""How far a workflow's behaviour can be taken back, and what happens when a run is started again.

Everything here follows from the definition and the contracts; nothing is measured. Where a sweep has tried it (a second
start, a hand-over to the previous version), the report says so beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kit.contract import Effect, OnceStrategy
from kit.contract.keys import WORKFLOW_ID, placeholders
from kit.testing.report import words
from kit.testing.report.side_effects import SideEffect, SideEffectMap
from kit.workflow import Phase


class Answer(StrEnum):
    """What can be said in a word."""

    YES = "yes"
    LIMITED = "limited"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that an operator wants to know before a rollback.

    Attributes:
        topic: What is asked.
        answer: In a word.
        text: In a sentence.
        because: Why, each in a sentence.
    """

    topic: str
    answer: Answer
    text: str
    because: tuple[str, ...] = ()


def claims(found: SideEffectMap) -> tuple[Claim, ...]:
    """What holds for every run of the workflow."""
    return tuple(_claims(found))


def _claims(found: SideEffectMap) -> Iterator[Claim]:
    yield _back(found)
    yield _forward(found)
    yield _restart(found)
    yield _late(found)


def _back(found: SideEffectMap) -> Claim:
    """Until where a run can be taken back."""
    body = found.of(Phase.BODY, Phase.PIVOT, None)
    asked = [effect for effect in body if _asks(effect)]
    until = _until(found)
    if not asked:
        return Claim(
            "Take a run back",
            Answer.YES,
            f"You can roll back until {until}: cancel the run, and it undoes what it did.",
        )
    names = _names(asked)
    return Claim(
        "Take a run back",
        Answer.LIMITED,
        f"You can roll back until {until}, but a person is asked about {names}.",
        tuple(f"{effect.operation.name} {_why_asked(effect)}." for effect in asked),
    )


def _forward(found: SideEffectMap) -> Claim:
    """What has to stay up for the runs that cannot go back."""
    forward = found.of(Phase.FORWARD, Phase.AFTER_COMMIT)
    held = found.of(Phase.AFTER_COMMIT)
    if found.pivot is None and not forward:
        return Claim(
            "Take the release back",
            Answer.YES,
            "No run ever has to go forward: cancel the runs of this version, then deploy the previous one.",
        )
    after = found.pivot.operation.name if found.pivot else "the commit"
    because = [f"After {after} come {_names(forward)}."] if forward else []
    if held:
        final = [effect for effect in held if effect.operation.effect is Effect.IRREVERSIBLE]
        because += [f"{_names(final)} cannot be taken back at all."] if final else []
    if found.pinned:
        because.append("Runs are pinned: each finishes on the version that began it.")
    return Claim(
        "Take the release back",
        Answer.LIMITED,
        f"After {after} a run only goes forward: keep this version's workers until such runs have ended, or drain.",
        tuple(because),
    )


def _restart(found: SideEffectMap) -> Claim:
    """What happens when the same request comes again under another workflow id."""
    again = [effect for effect in found.effects if _by_run(effect)]
    known = [effect for effect in found.effects if effect.operation.key is not None and not _by_run(effect)]
    if again:
        return Claim(
            "Start it again",
            Answer.NO,
            f"Not restartable under another workflow id: {_names(again)} would be issued again.",
            tuple(
                f"The key {effect.operation.key!r} of {effect.operation.name} has the workflow id in it."
                for effect in again
            ),
        )
    return Claim(
        "Start it again",
        Answer.YES,
        "Restartable: the same request finds the same keys, and the ledger answers instead of a second effect.",
        (
            "Every key names the business, not the run.",
            "A run that was undone stays undone: its keys are refused from then on. To try again, use a new id.",
        )
        if known
        else ("None of its effects has a key.",),
    )


def _late(found: SideEffectMap) -> Claim:
    """For how long the providers remember."""
    keyed = {
        effect.operation.name: effect.operation.once.ttl
        for effect in found.effects
        if effect.operation.once is not None
        and effect.operation.once.strategy is OnceStrategy.BY_KEY
        and effect.operation.once.ttl is not None
    }
    never = [effect for effect in found.effects if _never_twice(effect) and _unseen(effect)]
    because = [f"{_names(never)}: nothing can be looked up; when a reply is lost, a person is asked."] if never else []
    window = found.deadline + found.replay_window
    if not keyed:
        return Claim(
            "Come back late",
            Answer.LIMITED if never else Answer.YES,
            "No provider's memory for keys runs out: what is in doubt is looked up, or found in the database.",
            tuple(because),
        )
    name, ttl = min(keyed.items(), key=lambda pair: pair[1])
    because.insert(
        0,
        f"A run may be retried or started again for {words.span(window)} (deadline {words.span(found.deadline)} and "
        f"replay window {words.span(found.replay_window)}).",
    )
    unseen = [effect for effect in found.effects if effect.operation.name in keyed and _unseen(effect)]
    if unseen:
        because.append(f"{_names(unseen)}: no look-up; in doubt after the key's time, a person is asked.")
    return Claim(
        "Come back late",
        Answer.LIMITED,
        f"The providers' keys protect for {words.span(ttl)} ({name}); after that only the ledger and the look-ups do.",
        tuple(because),
    )


def _until(found: SideEffectMap) -> str:
    if found.pivot is not None:
        return found.pivot.operation.name
    return "the commit" if found.of(Phase.AFTER_COMMIT) else "it ends"


def _asks(effect: SideEffect) -> bool:
    """Whether taking it back may need a person."""
    return effect.operation.effect in (Effect.RECONCILABLE, Effect.IRREVERSIBLE) and effect.phase is not Phase.PIVOT


def _why_asked(effect: SideEffect) -> str:
    return f"is {effect.operation.effect.value}: it has no automatic undo"


def _never_twice(effect: SideEffect) -> bool:
    once = effect.operation.once
    return once is not None and once.strategy is OnceStrategy.NEVER_TWICE


def _unseen(effect: SideEffect) -> bool:
    """Whether it is known to have no look-up."""
    return effect.served and effect.probe is None


def _by_run(effect: SideEffect) -> bool:
    key = effect.operation.key
    return key is not None and WORKFLOW_ID in placeholders(key)


def _names(places: Sequence[SideEffect]) -> str:
    names = list(dict.fromkeys(effect.operation.name for effect in places))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
