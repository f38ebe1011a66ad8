"""One call: a workflow under every fault at every point it reaches, and every invariant asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from kit import contract
from kit.errors import DefinitionError
from kit.testing.engines.protocol import State
from kit.testing.faults import FaultKind, Scenario
from kit.testing.runs import Run
from kit.testing.sweep.assumptions import assumptions
from kit.testing.sweep.checking import Runner
from kit.testing.sweep.crew import Alone, Crew, Processes
from kit.testing.sweep.engines import SIMULATION, Choice, builder, name_of
from kit.testing.sweep.exploring import Exploration
from kit.testing.sweep.oracle import Oracle
from kit.testing.sweep.shrinking import shrink
from kit.testing.sweep.sources import code_hash
from kit.testing.sweep.tally import COUNTEREXAMPLES, Progress, Tally
from kit.testing.sweep.verdict import Counterexample, Counts, Reduction, Verdict
from kit.testing.wire import Wire
from kit.testing.world import Invariant, Subject, World

ALL_KINDS = tuple(FaultKind)


async def sweep(
    subject: Subject | type,
    request: Any = None,
    *,
    world: Callable[[Wire], World] | None = None,
    invariants: Iterable[Invariant | contract.Invariant] = (),
    depth: int = 2,
    engine: Choice = SIMULATION,
    seed: int = 0,
    oracle: bool = False,
    workers: int = 1,
    kinds: Iterable[FaultKind] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Verdict:
    """Run a workflow under every fault at every point, alone and together, and ask every invariant.

    ::

        verdict = await sweep(Checkout, request, world=CheckoutWorld, invariants=(no_charge_without_order,), depth=2)
        verdict.assert_safe()

    It starts with the clean run and faults what that reached; what is reached only because something failed (an undo, a
    probe, a repair) is faulted in turn, to the depth. The same arguments on the same sources give the same verdict,
    whatever the number of workers; only the order of what runs at the same time on the server is not the seed's.

    Args:
        subject: What is put under faults; or a workflow class, with ``request`` and ``world``.
        request: The workflow's argument.
        world: Builds the world of one scenario.
        invariants: Your own, besides the built-in ones and those of the subject.
        depth: The most faults of one scenario: 0 for the clean run only, 1 for singles, 2 for pairs. The number of
            scenarios grows as the power.
        engine: ``"simulation"`` or ``"server"``, or an engine of your own.
        seed: Decides every choice that the real world leaves open.
        oracle: Run every set of faults to its end for real, without any reduction. For small sagas: it takes the square
            of the time and keeps every outcome.
        workers: How many processes. More than one needs everything that describes the subject to be importable by name.
        kinds: What can go wrong; everything by default.
        progress: Told of every scenario, in the order of the sweep.

    Returns:
        What was found; `Verdict.assert_safe` turns a violation into a failed test. What it keeps is bounded.

    Raises:
        DefinitionError: Of the arguments something does not fit.
        UnsupportedScenario: The engine does not model something that the workflow or a scenario needs.
    """
    wanted = _subject(subject, request, world, tuple(invariants))
    _check(depth=depth, workers=workers, engine=engine, oracle=oracle)
    chosen = ALL_KINDS if kinds is None else tuple(kind for kind in FaultKind if kind in frozenset(kinds))
    tally = Tally(tell=progress)
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(builder(engine)())
        runner = Runner(own, wanted)
        clean, states = await _clean(runner, seed)
        if oracle:
            await Oracle(runner, tally, chosen, depth).explore(clean)
        else:
            crew: Crew = Alone(runner)
            if workers > 1 and depth > 0:
                crew = await stack.enter_async_context(Processes(builder(engine), runner, workers=workers))
            await Exploration(crew, tally, chosen, depth).explore(clean, states=states)
        return await _Ending(runner, tally, clean).verdict(
            depth=depth, seed=seed, engine=name_of(engine), oracle=oracle, kinds=chosen
        )


def _subject(
    subject: Subject | type,
    request: Any,
    world: Callable[[Wire], World] | None,
    invariants: tuple[Invariant | contract.Invariant, ...],
) -> Subject:
    if isinstance(subject, Subject):
        if request is not None or world is not None:
            raise DefinitionError(
                f"sweep of {subject.workflow.__name__}",
                rule="a Subject brings its own request and world",
                fix="pass either a Subject, or a workflow class with request and world",
            )
        return replace(subject, invariants=(*subject.invariants, *invariants)) if invariants else subject
    if world is None:
        raise DefinitionError(
            f"sweep of {subject.__name__}",
            rule="it has no world: nothing would carry its operations out",
            fix="pass world=, a subclass of kit.testing.World",
        )
    return Subject(subject, request, world, invariants)


def _check(*, depth: int, workers: int, engine: Choice, oracle: bool) -> None:
    if depth < 0:
        raise DefinitionError(f"sweep(depth={depth!r})", rule="it is negative", fix="use 1 for singles, 2 for pairs")
    if workers < 1:
        raise DefinitionError(f"sweep(workers={workers!r})", rule="nobody would work", fix="use 1 or more")
    if workers > 1 and not isinstance(engine, str) and not callable(engine):
        raise DefinitionError(
            f"sweep(workers={workers!r}, engine={engine!r})",
            rule="an engine cannot be in several processes",
            fix="pass its name, or what builds it",
        )
    if workers > 1 and oracle:
        raise DefinitionError(
            f"sweep(workers={workers!r}, oracle=True)",
            rule="the un-pruned mode runs in one process",
            fix="leave workers out",
        )


async def _clean(runner: Runner, seed: int) -> tuple[Run, dict[State, int]]:
    """The run without faults, and the states it passes through."""
    states: dict[State, int] = {}

    def note(state: State | None, seen: int) -> bool:
        if state is not None:
            states.setdefault(state, seen)
        return False

    run = await runner.run_until(Scenario(seed=seed), note)
    assert isinstance(run, Run)  # noqa: S101 - it was never told to stop
    return run, states


@dataclass(slots=True)
class _Ending:
    """Makes the verdict of what was counted."""

    runner: Runner
    tally: Tally
    clean: Run

    async def verdict(self, *, depth: int, seed: int, engine: str, oracle: bool, kinds: Sequence[FaultKind]) -> Verdict:
        tally, subject = self.tally, self.runner.subject
        found = await self._counterexamples()
        for scenario in tally.examples.values():
            await self._run(scenario)
        runs = sorted(tally.kept.values(), key=lambda run: len(run.scenario.faults))
        return Verdict(
            workflow=subject.workflow.__name__,
            depth=depth,
            seed=seed,
            engine=engine,
            oracle=oracle,
            kinds=tuple(kinds),
            clean=self.clean,
            runs=tuple(runs),
            violations=tuple(found),
            counts=self._counts(depth),
            matrix=tally.matrix(),
            differences=tuple(tally.differences),
            unfaulted=tuple(sorted(tally.reachable - tally.faulted)),
            assumptions=tuple(assumptions(subject, depth=depth, seed=seed, engine=engine, kinds=kinds)),
            code_hash=code_hash(
                subject.workflow, subject.world, *filter(None, (subject.previous,)), *subject.others, *_checks(subject)
            ),
        )

    async def _counterexamples(self) -> list[Counterexample]:
        """The scenarios none of whose explored parts violates, once more by running every part."""
        found: dict[Scenario, Counterexample] = {}
        for faults, scenario in list(self.tally.minimal.items())[:COUNTEREXAMPLES]:
            smallest = await shrink(scenario, violates=self._violates)
            if smallest not in found:
                run = await self._run(smallest)
                found[smallest] = Counterexample(smallest, run, scenario, self.tally.spread[faults])
        return list(found.values())

    async def _violates(self, scenario: Scenario) -> bool:
        run = self.tally.kept.get(scenario) or await self.runner.run(scenario)
        return not run.safe

    async def _run(self, scenario: Scenario) -> Run:
        run = self.tally.kept.get(scenario)
        if run is None:
            run = await self.runner.run(scenario)
            self.tally.keep(run)
        return run

    def _counts(self, depth: int) -> Counts:
        tally = self.tally
        return Counts(
            scenarios=tally.done,
            runs=tally.runs,
            stopped=tally.stopped,
            reduced={reason: tally.reduced[reason] for reason in Reduction if tally.reduced[reason]},
            histories=len(tally.histories),
            replays=len(tally.replayed),
            reachable=len(tally.reachable),
            faulted=len(tally.faulted & tally.reachable),
            beyond=len(tally.beyond - tally.reachable),
            endings=dict(sorted(tally.endings.items())),
            violating=tally.violating,
            checked=tally.checked,
        )


def _checks(subject: Subject) -> Collection[Any]:
    return [invariant.check for invariant in subject.invariants]
