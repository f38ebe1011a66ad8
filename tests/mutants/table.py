"""The registry as the docs show it."""

from __future__ import annotations

from typing import Final

from kit.testing import Scenario
from tests.mutants.careful import ORIGINAL_BY_HAND
from tests.mutants.registry import MUTANTS, PLACES
from tests.mutants.seeding import ORIGINALS, ROOT, Mutant

PAGE: Final = ROOT / "docs/explanation/bugs-it-finds.md"
"""The page that shows it."""

_BEGIN: Final = "<!-- written by `python -m tests.mutants --write` -->\n"
_END: Final = "\n<!-- end -->"
_HEAD: Final = "| fault | story | caught by |\n|---|---|---|"

RUNNING: Final = tuple(mutant for mutant in MUTANTS if mutant.refused is None)
"""The mutants that get to run."""

CAUGHT: Final = tuple(mutant for mutant in RUNNING if mutant.caught is not None)
"""Those of them that a scenario catches."""


def faults_of(mutant: Mutant) -> int:
    """How many faults it takes to catch a mutant that is caught."""
    return len(Scenario.parse(mutant.caught or "").faults)


def original_of(mutant: Mutant) -> Mutant:
    """What a mutant is a copy of."""
    if mutant.workflow is not None:
        return ORIGINAL_BY_HAND
    return ORIGINALS[mutant.subject]


def written(page: str) -> str:
    """The page with score and table of now in it."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}{_score()}\n\n{_tables()}{_END}{after}"


def _tables() -> str:
    """A table for each place, with one row for each mutant."""
    return "\n\n".join(
        "\n".join([f"### In {place}", "", _HEAD, *(f"| `{m.name}` | {m.story} | {_caught(m)} |" for m in mutants)])
        for place, mutants in PLACES.items()
    )


def _score() -> str:
    """How many are caught by what."""
    singles = sum(faults_of(mutant) <= 1 for mutant in CAUGHT)
    return (
        f"**{len(MUTANTS)} faults.** {len(MUTANTS) - len(RUNNING)} are refused when the class or the worker is built, "
        f"{len(RUNNING)} get to run.\n"
        f"Scenarios of at most one fault catch {singles} of these ({singles / len(RUNNING):.0%}), "
        f"pairs {len(CAUGHT) - singles} more: together {len(CAUGHT) / len(RUNNING):.0%}.\n"
        f"{len(RUNNING) - len(CAUGHT)} are caught by neither; why they do no harm is argued in their rows."
    )


def _caught(mutant: Mutant) -> str:
    if mutant.refused is not None:
        return f"refused when built: “{mutant.refused}”"
    if mutant.caught is None:
        return f"nothing: {mutant.equivalent}"
    return f"`{mutant.caught}`: “{mutant.breaks}”"
