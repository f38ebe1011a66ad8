"""The same sweep without any reduction: every set of faults is run to its end, for real.

It knows nothing of which fault strikes first, what follows from what, or which states are equal. Whatever any run
reached is faulted, alone and together with everything else that was ever reached; a scenario whose faults do not all
strike must end as the one without those that did not. It is what the reduced sweep is compared with, on small sagas: it
takes the square of the time at two faults, and it keeps all outcomes in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import combinations

from kit.testing.faults import Fault, FaultKind, Scenario
from kit.testing.runs import Run
from kit.testing.sweep.checking import Runner, digest
from kit.testing.sweep.growing import reached
from kit.testing.sweep.outcome import Outcome
from kit.testing.sweep.tally import Tally
from kit.testing.sweep.verdict import Reduction


class ReductionError(AssertionError):
    """A reduction that the sweep takes for exact is not: two scenarios that must be the same ended differently."""


@dataclass(slots=True)
class Oracle:
    """Runs every set of at most ``depth`` faults among all that any run could be given.

    Args:
        runner: Runs them.
        tally: Takes the outcomes in.
        kinds: What can go wrong.
        depth: The most faults of one scenario.
    """

    runner: Runner
    tally: Tally
    kinds: Collection[FaultKind]
    depth: int
    _faults: list[Fault] = field(default_factory=list)
    _runs: dict[tuple[Fault, ...], tuple[Outcome, tuple[Fault, ...]]] = field(default_factory=dict)

    async def explore(self, clean: Run) -> None:
        """Run them all.

        Raises:
            ReductionError: A fault that did not strike changed something.
        """
        seed = clean.scenario.seed
        self._note(clean)
        while pending := [faults for faults in self._sets() if faults not in self._runs]:
            self.tally.planned += len(pending)
            for faults in pending:
                self._note(await self.runner.run(Scenario(faults, seed)))
        for faults, (outcome, unreached) in sorted(self._runs.items(), key=lambda item: (len(item[0]), item[0])):
            if not unreached:
                self.tally.add(outcome)
                continue
            self.tally.reduced[Reduction.UNREACHED] += 1
            rest = tuple(fault for fault in faults if fault not in unreached)
            expected = self._runs[rest][0]
            if not outcome.equals(expected):
                raise ReductionError(
                    f"scenario {str(outcome.scenario)!r}: {unreached} did not strike, and yet it ended otherwise "
                    f"than without: {outcome} against {expected}"
                )

    def _note(self, run: Run) -> None:
        self._runs[run.scenario.faults] = Outcome.of(run), run.unreached
        self.tally.runs += 1
        self.tally.histories.add(digest(run))
        if len(run.scenario.faults) <= 1 or run.violations:
            self.tally.keep(run)
        points = reached(run.seen)
        self.tally.see(points, within=len(run.scenario.faults) < self.depth)
        if len(run.scenario.faults) < self.depth:
            known = set(self._faults)
            fresh = [Fault(point, kind) for point, offered in points for kind in offered if kind in self.kinds]
            self._faults += [fault for fault in fresh if fault not in known]

    def _sets(self) -> Iterator[tuple[Fault, ...]]:
        """Every set within the bound, smallest first; never two faults of one seam at one point."""
        for size in range(1, self.depth + 1):
            for faults in combinations(sorted(self._faults), size):
                if len({(fault.point, fault.kind.seam) for fault in faults}) == size:
                    yield faults
