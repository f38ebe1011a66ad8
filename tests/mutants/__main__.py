"""Find out what catches each mutant: ``python -m tests.mutants [NAME ...]``; ``--write`` puts it into the page.

Each mutant is swept with every single fault. Where none catches it, it is swept with pairs: those of the kinds that the
registry names, or all of them where it names none. What is found is compared with the registry, so that nobody can name
a scenario that the sweep would not have come to by itself. That takes minutes, so it is no test: the tests run the one
scenario of each that the registry names. Whoever adds or changes a mutant runs this and writes down what it prints.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kit.errors import DefinitionError
from kit.testing import FaultKind, Scenario, Verdict, sweep
from tests.mutants.careful import ORIGINAL_BY_HAND
from tests.mutants.registry import MUTANTS
from tests.mutants.seeding import ORIGINALS, Mutant, subject_of
from tests.mutants.table import PAGE, written

SHOWN: Final = 5
"""How many scenarios are printed of those that catch a mutant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a sweep said of a mutant.

    Attributes:
        caught: The scenarios that catch it, with the fewest faults; none when it survives.
        text: The same for a reader.
        refused: The error with which it was refused, if it was.
    """

    caught: tuple[str, ...]
    text: str
    refused: str | None = None

    def confirms(self, mutant: Mutant) -> bool:
        """Whether it is what the registry says."""
        if mutant.refused is not None:
            return self.refused is not None and mutant.refused in self.refused
        return mutant.caught in self.caught if mutant.caught is not None else not self.caught


async def look(mutant: Mutant, *, depth: int, kinds: Sequence[FaultKind] | None = None) -> Finding:
    """Sweep one mutant, with singles first; with pairs of the given kinds."""
    try:
        verdict = await sweep(subject_of(mutant), depth=1)
        if not verdict.violations and depth > 1:
            verdict = await sweep(subject_of(mutant), depth=depth, kinds=kinds or _kinds_of_pairs(mutant))
    except DefinitionError as error:
        return Finding((), f"refused when built: {error}", str(error))
    return Finding(tuple(str(found.scenario) for found in verdict.violations), _told(verdict))


def _kinds_of_pairs(mutant: Mutant) -> Sequence[FaultKind] | None:
    faults = Scenario.parse(mutant.caught).faults if mutant.caught else ()
    return sorted({fault.kind for fault in faults}) or None


def _told(verdict: Verdict) -> str:
    if not verdict.violations:
        return f"survives {verdict.counts.scenarios} scenarios of at most {verdict.depth} faults"
    lines = [f"{verdict.counts.violating} of {verdict.counts.scenarios} scenarios"]
    for found in verdict.violations[:SHOWN]:
        broken = "; ".join(dict.fromkeys(f"{v.invariant}: {v.text}" for v in found.run.violations))
        lines.append(f"    {found.scenario}  {broken}")
    return "\n".join(lines)


async def main(names: Sequence[str], *, depth: int, kinds: Sequence[FaultKind] | None = None) -> bool:
    """Look at the mutants of these names, or at all, and at the originals; tells whether the registry is right."""
    right = True
    for mutant in (*ORIGINALS.values(), ORIGINAL_BY_HAND, *MUTANTS):
        if names and mutant.name not in names:
            continue
        began = time.perf_counter()
        found = await look(mutant, depth=depth, kinds=kinds)
        confirmed = found.confirms(mutant)
        right = right and confirmed
        verdict = "as registered" if confirmed else f"NOT AS REGISTERED ({mutant.refused or mutant.caught})"
        taken = time.perf_counter() - began
        print(f"{mutant.name}, {taken:.1f} s, {verdict}: {found.text}", flush=True)  # noqa: T201 - a command prints
    return right


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="which mutants; all when none is named")
    parser.add_argument("--depth", type=int, default=2, help="the most faults of one scenario")
    parser.add_argument(
        "--kinds", nargs="+", type=FaultKind, help="the kinds of pairs; those of the registry by default"
    )
    parser.add_argument("--write", action="store_true", help=f"put what the registry says into {PAGE.name}")
    given = parser.parse_args()
    if given.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        logging.disable(logging.CRITICAL)  # of thousands of failures that are meant to happen
        sys.exit(not asyncio.run(main(given.names, depth=given.depth, kinds=given.kinds)))
