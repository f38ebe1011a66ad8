"""One piece of a sweep: scenarios that follow from one scenario, in the order in which their last fault strikes.

A piece is what a process gets and what it answers; it depends on nothing else, so what comes of it is the same whoever
carries it out, and whatever was carried out before.

**The memo on state.** Once all faults of a scenario have struck and have nothing left to do, the rest of its run is a
function of the state the world is in: what the workflow has seen, what the server is about to deliver, what the
ledgers and the providers know, and how many faults may still strike. So the second run that reaches a state need not
go on: what comes of it is known. The memo holds the states of the scenario that the piece follows from, and those of
the piece itself, as far as every invariant held in the end. On the last level a run is stopped there.

It is checked all the time: a single, and a run on an earlier level, is run to its end because somebody will want to see
it, and one in `SAMPLE` of the others, by its id. Each must have ended as it was foretold.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from kit.errors import DefinitionError
from kit.testing.engines.horizon import horizon
from kit.testing.engines.protocol import Cut, Foreseeing, State
from kit.testing.faults import Fault, FaultKind, Scenario
from kit.testing.runs import Run, Seen
from kit.testing.sweep.checking import Runner, digest
from kit.testing.sweep.growing import Reached, reached
from kit.testing.sweep.outcome import Outcome

SAMPLE: Final = 64
"""Of so many scenarios that need not be run to their end one is, to see that it ends as foretold."""

LASTING: Final = 1 / 2
"""Of the horizon: what comes of a run that takes longer is foretold to none that may have begun later."""

EXCUSED: Final = frozenset({FaultKind.UNRECORDED, FaultKind.HANDED_OVER})
"""The kinds for which a built-in invariant makes an exception: what comes of one is foretold to no other."""

RUNS_OF_A_PIECE: Final = 2
"""How many violating runs a piece of the last level brings along; the others can be run again."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What is to be run.

    Attributes:
        outcome: What came of the scenario without the further fault.
        faults: The further faults, one scenario each, in the order of the points at which they strike.
        states: States that scenario passed through after its faults, and how many requests had been seen then.
        calls: The operation of every request of that scenario, in order.
        last: Whether nothing follows from these scenarios: the bound is reached.
        ended: Whether all of them are run to their end, also where the rest is known.
    """

    outcome: Outcome
    faults: tuple[Fault, ...]
    states: Mapping[State, int] = field(default_factory=dict)
    calls: tuple[str, ...] = ()
    last: bool = False
    ended: bool = False

    @property
    def shown(self) -> bool:
        """Whether somebody will want to see all of its runs: the singles, and those from which others follow."""
        return not self.last or not self.outcome.scenario.faults


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one scenario of a piece.

    Attributes:
        fault: The further fault.
        outcome: ``None`` when a fault of the scenario could not strike: then it is no scenario of its own.
        points: What it reached: all of it where scenarios follow, else what the run saw before it was stopped.
        merged: The scenario whose run it became (``None`` for the piece's own), after how many requests, and how many
            that one had seen.
        stopped: Whether it was stopped there.
        lasts: Whether it takes so long that nothing is foretold by it.
        states: The states it passed through, where scenarios follow from it.
        run: All of it, where scenarios follow from it or something does not hold.
        history: Digest of its history; 0 when it was stopped.
        boundaries: Between how many workflow tasks it was checked to survive the loss of its worker.
    """

    fault: Fault
    outcome: Outcome | None
    points: tuple[Reached, ...] = ()
    merged: tuple[Fault | None, int, int] | None = None
    stopped: bool = False
    lasts: bool = False
    states: Mapping[State, int] = field(default_factory=dict)
    run: Run | None = None
    history: int = 0
    boundaries: int = 0


async def carry_out(piece: Piece, *, runner: Runner) -> list[Found]:
    """Run the scenarios of a piece, in order.

    Raises:
        UnsupportedScenario: The engine does not model what one of them needs.
        DefinitionError: Two runs were in the same state and ended differently: the world does not tell all its state.
    """
    if not isinstance(runner.engine, Foreseeing):
        scenarios = [piece.outcome.scenario.plus(fault) for fault in piece.faults]
        runs = await asyncio.gather(*(runner.run(scenario) for scenario in scenarios))
        return [
            _found(piece, fault, run, kept=_kept(piece, run), boundaries=runner.boundaries(run))
            for fault, run in zip(piece.faults, runs, strict=True)
        ]
    memo = _Memo(exactly=not piece.last)
    memo.learn(None, piece.states, piece.calls)
    limit = horizon(runner.subject)
    outcomes: dict[Fault | None, Outcome] = {None: piece.outcome}
    found, violating = [], 0
    async with runner.course(piece.outcome.scenario, branches=len(piece.faults)) as course:
        for fault in piece.faults:
            scenario = piece.outcome.scenario.plus(fault)
            spared = not piece.ended and not sampled(scenario)
            passage = _Passage(memo, spared=spared, stops=spared and not piece.shown)
            run = await course.run_until(fault, passage.known)
            one = _judged(piece, fault, run, passage, outcomes)
            if isinstance(run, Run):
                one = replace(one, boundaries=runner.boundaries(run), lasts=_lasts(run, limit))
            if (outcome := one.outcome) is not None:
                violating += not outcome.safe
                if not outcome.safe or one.lasts:
                    one = replace(one, states={})
                elif fault.kind not in EXCUSED:
                    outcomes[fault] = outcome
                    memo.learn(fault, passage.passed, _calls(run.seen), passage.mark)
            found.append(one if piece.shown or violating <= RUNS_OF_A_PIECE else replace(one, run=None))
    return found


@dataclass(slots=True)
class _Memo:
    """States, and who was in them."""

    exactly: bool
    """Whether more faults may follow, which may call what nobody has called so far."""
    marks: dict[str, list[_Mark]] = field(default_factory=dict)

    def find(self, state: State) -> _Mark | None:
        """Who was in a state, or in one that differs in nothing that is met afterwards."""
        for mark in self.marks.get(state.digest, ()):
            if mark.latent == state.latent:
                return mark
            if not self.exactly and mark.later.isdisjoint(name for name, _ in mark.latent ^ state.latent):
                return mark
        return None

    def learn(
        self, fault: Fault | None, passed: Mapping[State, int], calls: Sequence[str], mark: _Mark | None = None
    ) -> None:
        """Note where a scenario's run has been, what it called in all, and of whom the rest was known."""
        for state, after in passed.items():
            if self.find(state) is None:
                later = frozenset(calls[after:]) | (frozenset() if mark is None else mark.later)
                self.marks.setdefault(state.digest, []).append(_Mark(fault, after, state.latent, later))


@dataclass(frozen=True, slots=True)
class _Mark:
    """Somebody was in a state.

    Attributes:
        fault: Whose run it was: the piece's own for ``None``.
        after: How many requests it had seen.
        latent: See `State`.
        later: The operations that it called from there on.
    """

    fault: Fault | None
    after: int
    latent: frozenset[tuple[str, str]]
    later: frozenset[str]


@dataclass(slots=True)
class _Passage:
    """One run's way through the states."""

    memo: _Memo
    spared: bool
    stops: bool
    missed: bool = False
    passed: dict[State, int] = field(default_factory=dict)
    mark: _Mark | None = None
    merged: tuple[Fault | None, int, int] | None = None

    def known(self, state: State | None, seen: int) -> bool:
        if state is None:
            self.missed = True
            return self.spared
        mark = self.memo.find(state)
        if mark is not None and self.mark is None:
            self.mark, self.merged = mark, (mark.fault, seen, mark.after)
        self.passed.setdefault(state, seen)
        return mark is not None and self.stops


def _judged(
    piece: Piece, fault: Fault, run: Run | Cut, passage: _Passage, outcomes: Mapping[Fault | None, Outcome]
) -> Found:
    scenario = piece.outcome.scenario.plus(fault)
    if passage.missed:
        return _unreached(fault, run)
    if passage.merged is None:
        assert isinstance(run, Run)  # noqa: S101 - nothing was known, so nothing was stopped
        return _found(piece, fault, run, kept=_kept(piece, run), states=passage.passed)
    foretold = outcomes[passage.merged[0]].passed_on(scenario)
    if isinstance(run, Cut):
        return Found(fault, foretold, points=reached(run.seen), merged=passage.merged, stopped=True)
    if run.unreached:
        return Found(fault, None)
    check(Outcome.of(run), foretold)
    found = _found(piece, fault, run, kept=_kept(piece, run), states=passage.passed)
    return replace(found, outcome=foretold, merged=passage.merged)


def _unreached(fault: Fault, run: Run | Cut) -> Found:
    if isinstance(run, Run) and not run.unreached:
        raise DefinitionError(
            f"scenario {str(run.scenario)!r}",
            rule=f"{fault} was given up, its call being over, and struck later all the same",
            fix="this is a defect of the sweep: please report it with the workflow and its world",
        )
    return Found(fault, None, stopped=isinstance(run, Cut))


def check(outcome: Outcome, foretold: Outcome) -> None:
    """Compare what came of a scenario with what another one foretold.

    Raises:
        DefinitionError: They differ: something that matters is no part of the state.
    """
    if not outcome.equals(foretold):
        raise DefinitionError(
            f"scenario {str(outcome.scenario)!r}",
            rule=f"it and {str(foretold.same_as)!r} were in the same state and ended differently: "
            f"{outcome} against {foretold}",
            fix="let World.state() return everything that later answers and the truth depend on, or None",
        )


def _found(
    piece: Piece,
    fault: Fault,
    run: Run,
    *,
    kept: Run | None,
    states: Mapping[State, int] | None = None,
    boundaries: int = 0,
) -> Found:
    if run.unreached:
        return Found(fault, None)
    return Found(
        fault,
        Outcome.of(run),
        points=reached(run.seen),
        states={} if piece.last else (states or {}),
        run=kept,
        history=digest(run),
        boundaries=boundaries,
    )


def _kept(piece: Piece, run: Run) -> Run | None:
    return run if piece.shown or (run.violations and piece.outcome.safe) else None


def _calls(seen: Sequence[Seen]) -> tuple[str, ...]:
    return tuple(one.point.operation for one in seen)


def sampled(scenario: Scenario) -> bool:
    """Whether a scenario is run to its end although the rest is known; by its id, so the same in every sweep."""
    return hashlib.blake2b(str(scenario).encode(), digest_size=2).digest()[0] % SAMPLE == 0


def _lasts(run: Run, limit: timedelta | None) -> bool:
    return limit is not None and bool(run.story) and run.story[-1].at > limit * LASTING
