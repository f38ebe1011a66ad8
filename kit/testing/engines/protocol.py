"""What runs a scenario. Two engines with one result: the simulation, and a real server that skips time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

from kit.testing.faults import Fault, Scenario
from kit.testing.runs import Run, Seen
from kit.testing.world import Subject


class Engine(Protocol):
    """Runs scenarios."""

    async def __aenter__(self) -> Self:
        """Be ready to run."""

    async def __aexit__(self, *_: object) -> None:
        """Be gone."""

    async def run(self, subject: Subject, scenario: Scenario) -> Run:
        """Run one scenario from the start of the workflow to its end, or to where it waits for a person and beyond.

        When the run parks, the invariants are checked, and then a person answers every open task with ``retry`` while
        all providers are well (``skip`` where retry is not offered); the invariants are checked again at the end.
        Everything is the scenario's own: world, ledger, workflow id, virtual clock.

        Raises:
            UnsupportedScenario: The engine does not model something that the workflow or the scenario needs; says what.
        """


@runtime_checkable
class Replaying(Protocol):
    """What an engine can do besides: find out whether a run would have survived every loss of its worker's cache."""

    def replays(self, subject: Subject, run: Run) -> str | None:
        """Replay a run's history with a fresh instance; says where its commands differ, ``None`` when they do not.

        Called in a thread without a running loop.
        """


@dataclass(frozen=True, slots=True)
class State:
    """What the rest of a run depends on, at a quiet moment.

    Attributes:
        digest: Of all of it but ``latent``.
        latent: What faults have left lying, that meets only further calls of an operation: its name, and what it is.
            Two runs that differ in it go on alike as long as none of those operations is called.
    """

    digest: str
    latent: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Cut:
    """A run that was stopped: the rest is known from another run that was in the same state, or no scenario of its own.

    Attributes:
        state: That state; ``None`` when one of the faults can never strike any more.
        seen: Every request that reached the wire until then, in order.
    """

    state: State | None
    seen: tuple[Seen, ...]


Known = Callable[[State | None, int], bool]
"""Says of a state (see `Cut`), and of how many requests were seen, whether the run may be stopped there."""


@runtime_checkable
class Foreseeing(Protocol):
    """What an engine can do besides, when it can tell the whole state of a scenario: not run what is known."""

    async def run_until(self, subject: Subject, scenario: Scenario, known: Known) -> Run | Cut:
        """Run one scenario, until ``known`` says of a state that it knows what comes of it.

        ``known`` is given a state and the number of requests seen so far. It is asked at quiet moments: after the
        scenario's last fault has struck and has nothing left to do, while no activity is at work, and before an
        invariant is asked for the first time. The state is everything that the rest of the run depends on:
        what the workflow has seen, what the server is about to deliver and when, the ledgers, the providers, and what
        is counted in the worker. Two runs in one state make the same requests from there on, though their calls may be
        numbered otherwise; and where there is a `kit.testing.engines.horizon`, it may be earlier in one than in the
        other. Then nothing is known of a run that would last longer than it.

        At such moments it is also asked about ``None``, once a fault of the scenario can never strike any more: that is
        no scenario of its own.

        Raises:
            UnsupportedScenario: As `Engine.run`.
        """


class Course(Protocol):
    """The run of one scenario, which others go on from."""

    async def run_until(self, fault: Fault, known: Known) -> Run | Cut:
        """Run the scenario with one more fault, which strikes later than all of its own; as `Foreseeing.run_until`."""


@runtime_checkable
class Branching(Foreseeing, Protocol):
    """What an engine can do besides: begin a scenario where another one stood, and not at the start."""

    def course(self, subject: Subject, scenario: Scenario) -> AbstractAsyncContextManager[Course]:
        """The run of a scenario, from which those with one more fault branch off. Each is the same as from the start.

        Raises:
            UnsupportedScenario: As `Engine.run`.
        """
