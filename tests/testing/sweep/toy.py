"""A saga that is no workflow: a state machine written by hand, with known bugs, that is run as an engine runs one.

Steps are carried out in order; the first refusal undoes what was done, in reverse. Every call is one request, an
unknown outcome is asked again, and an undo that is refused asks a person.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from kit.contract import Role
from kit.testing.engines.protocol import Cut, Known, State
from kit.testing.faults import Fault, FaultKind, Point, Scenario
from kit.testing.runs import Ending, Run, Seen, Truth, Violation
from kit.testing.world import Subject

KINDS = (
    FaultKind.REFUSED,
    FaultKind.OUTAGE,
    FaultKind.REPLY_LOST,
    FaultKind.TWICE,
    FaultKind.UNRECORDED,
    FaultKind.CRASH_BEFORE,
    FaultKind.CRASH_AFTER,
    FaultKind.TERMINATED,
)


class Shopping:
    """Stands for a workflow class."""


def no_world(wire: Any) -> Any:
    """Nothing asks for the world: the toy keeps its own."""
    raise NotImplementedError


TOY = Subject(Shopping, None, no_world)


@dataclass(frozen=True)
class Toy:
    """The engine.

    Attributes:
        steps: The operations, in order.
        keyless: Bug: operations whose key changes with every attempt, so that the provider does the work again.
        forgets: Bug: an operation whose unknown outcome is taken for "nothing happened" once an attempt is refused.
        blind: Bug of the test's world: its state leaves the provider out.
        foresees: Whether it can stop where the rest is known.
        ran: Every scenario that it was asked to run.
    """

    steps: tuple[str, ...] = ("reserve", "charge", "ship")
    keyless: tuple[str, ...] = ()
    forgets: str = ""
    blind: bool = False
    ran: list[str] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def run(self, subject: Subject, scenario: Scenario) -> Run:
        """Run one scenario to its end."""
        run = _Saga(self, scenario, lambda state, seen: False).run()
        assert isinstance(run, Run)
        self.ran.append(str(scenario))
        return run


class Foreseeing(Toy):
    """The same, and it stops where the rest is known."""

    async def run_until(self, subject: Subject, scenario: Scenario, known: Known) -> Run | Cut:
        """Run one scenario, until ``known`` says that it knows the rest."""
        self.ran.append(str(scenario))
        return _Saga(self, scenario, known).run()


class _Known(Exception):
    pass


class _Terminated(Exception):
    pass


@dataclass
class _Saga:
    toy: Toy
    scenario: Scenario
    known: Known
    seen: list[Seen] = field(default_factory=list)
    truth: dict[str, int] = field(default_factory=dict)
    live: dict[str, int] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    struck: set[Fault] = field(default_factory=set)
    calls: dict[tuple[str, Role], int] = field(default_factory=dict)
    down: set[tuple[str, Role]] = field(default_factory=set)
    stage: str = "start"
    asked: str = ""

    def run(self) -> Run | Cut:
        try:
            ending = self.forward()
        except _Known:
            return Cut(self.state(), tuple(self.seen))
        except _Terminated:
            ending = Ending.TERMINATED
        unreached = tuple(fault for fault in self.scenario.faults if fault not in self.struck)
        violations = tuple(self.violations(ending))
        truth = tuple(
            Truth("provider", name, name, count > 0, order, f"{count} {name}")
            for order, (name, count) in enumerate(self.live.items())
        )
        return Run(
            self.scenario,
            "Shopping",
            "sweep",
            ending,
            Ending.COMPENSATED if ending is Ending.PARKED else None,
            truth=truth,
            seen=tuple(self.seen),
            violations=violations,
            unreached=unreached,
            history=repr((ending, self.stage, self.done, self.asked, sorted(self.calls.items()))).encode(),
        )

    def violations(self, ending: Ending) -> Iterable[Violation]:
        wanted = 1 if ending is Ending.COMPLETED else 0
        for name, count in self.live.items():
            if count > 1:
                yield Violation("one live effect", f"{name}: {count}")
            elif count > wanted and ending in (Ending.COMPENSATED, Ending.COMPLETED):
                yield Violation("nothing is left", f"{name}: {count}")

    def forward(self) -> Ending:
        for name in self.toy.steps:
            self.quiet(f"before {name}")
            if not self.step(name):
                return self.backward(name)
            self.done.append(name)
        return Ending.COMPLETED

    def step(self, name: str) -> bool:
        for _ in range(9):
            answer = self.request(name, Role.ACTION)
            if answer in ("done", "refused"):
                return answer == "done"
            self.quiet(f"again {name}")
        raise AssertionError("the toy's faults do not last")

    def backward(self, failed: str) -> Ending:
        unknown = any(
            s.point.operation == failed and s.fault and s.fault.kind is not FaultKind.REFUSED for s in self.seen
        )
        to_undo = (
            [failed, *reversed(self.done)] if unknown and failed != self.toy.forgets else list(reversed(self.done))
        )
        for name in to_undo:
            self.quiet(f"undo {name}")
            while (answer := self.request(name, Role.COMPENSATION)) != "done":
                if answer == "refused":
                    self.asked = name
                    return Ending.PARKED
                self.quiet(f"undo again {name}")
        return Ending.COMPENSATED

    def request(self, name: str, role: Role) -> str:
        call = self.calls[name, role] = self.calls.get((name, role), 0) + 1
        point = Point(name, role, call)
        faults = [fault for fault in self.scenario.faults if fault.point == point]
        kinds = {fault.kind for fault in faults}
        self.seen.append(Seen(point, "sweep", name, call, faults[0] if faults else None, kinds=KINDS))
        if FaultKind.TERMINATED in kinds:
            self.struck.update(fault for fault in faults if fault.kind is FaultKind.TERMINATED)
            raise _Terminated
        self.struck.update(faults)
        if (name, role) in self.down or FaultKind.OUTAGE in kinds:
            self.down = self.down ^ {(name, role)}
            return "not started"
        if FaultKind.CRASH_BEFORE in kinds:
            return "unknown"
        if FaultKind.REFUSED in kinds:
            return "refused"
        self.effect(name, role, times=2 if FaultKind.TWICE in kinds else 1)
        return "unknown" if kinds & {FaultKind.REPLY_LOST, FaultKind.CRASH_AFTER} else "done"

    def effect(self, name: str, role: Role, *, times: int) -> None:
        if role is Role.COMPENSATION:
            self.live[name] = 0
            return
        for _ in range(times):
            again = name in self.truth
            self.truth[name] = self.truth.get(name, 0) + (not again or name in self.toy.keyless)
            self.live[name] = self.truth[name]

    def state(self) -> State:
        provider = () if self.toy.blind else (sorted(self.truth.items()), sorted(self.live.items()))
        unknown = sorted({s.point.operation for s in self.seen if s.fault and s.fault.kind is not FaultKind.REFUSED})
        digest = repr((self.stage, self.done, unknown, sorted(self.calls.items()), provider))
        return State(digest, frozenset((name, role.value) for name, role in self.down))

    def quiet(self, stage: str) -> None:
        self.stage = stage
        if self.struck == set(self.scenario.faults) and self.known(self.state(), len(self.seen)):
            raise _Known
