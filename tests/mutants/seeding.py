"""A mutant: the reference with one fault seeded into a copy of its sources, as a reviewer would see it, as a diff.

Nothing of the kit is changed, and nothing is patched at run time. The sources of the service (`activities`, `workflows`
and the world they are verified in) are imported a second time under their own names, with the mutant's edits in them;
what is built from them is as real as the original, and stays beside it. What the guard itself would get wrong is seeded
where the guard meets the ledger: a ledger that breaks one of its rules.

One limit: a process then has several classes of one workflow type, and an unwind, which looks the pivot up by the type,
finds the original's. A fault that moves the pivot is not to be judged by scenarios with a termination.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from kit.ledger import Ledger
from kit.testing import Subject, Wire, World

ROOT: Final = Path(__file__).resolve().parents[2]

CHECKOUT: Final = "tests.worlds.checkout:CHECKOUT"
STREET: Final = "tests.mutants.street:STREET"
CANCEL: Final = "tests.worlds.subscription_cancel:SUBSCRIPTION_CANCEL"
DEAR_CANCEL: Final = "tests.worlds.subscription_cancel:DEAR_SUBSCRIPTION_CANCEL"
UPGRADE: Final = "tests.worlds.plan_upgrade:PLAN_UPGRADE"
"""What faults are seeded into: subjects, by module and name."""

_COPIED: Final = ("activities", "workflows", "tests.worlds", "tests.mutants.street")
"""What may be imported anew for a mutant: the service, and the worlds built from it."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one file: ``before`` occurs in it exactly once."""

    path: str
    before: str
    after: str

    @property
    def module(self) -> str:
        """The file's module."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def apply(self, text: str) -> str:
        """The text with the change in it.

        Raises:
            LookupError: The reference has changed: what is to be replaced is not there, or not once.
        """
        if (found := text.count(self.before)) != 1:
            raise LookupError(f"{self.path}: {self.before!r} occurs {found} times, not once: bring the edit up to date")
        return text.replace(self.before, self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A fault, and what finds it.

    Attributes:
        name: In snake case.
        story: What somebody did, and why they meant well.
        edits: The diff.
        workflow: Written by hand instead of the reference's workflow.
        ledger: Instead of the world's.
        subject: What it was seeded into, and is run as.
        caught: The scenario that catches it; ``None`` when none does.
        breaks: The invariant that does not hold there.
        refused: Part of the error with which it is refused when its classes or its worker are built.
        equivalent: Why nothing can catch it: it does no harm.
    """

    name: str
    story: str
    edits: tuple[Edit, ...] = ()
    workflow: type | None = None
    ledger: Callable[[], Ledger] | None = None
    subject: str = CHECKOUT
    caught: str | None = None
    breaks: str = ""
    refused: str | None = None
    equivalent: str | None = None

    @property
    def where(self) -> str:
        """What it was seeded into, as the table shows it."""
        if self.edits:
            return ", ".join(dict.fromkeys(edit.path for edit in self.edits))
        return "the workflow, by hand" if self.workflow else "the ledger"


ORIGINAL: Final = Mutant(name="original", story="The reference as it is.")

ORIGINALS: Final = {
    CHECKOUT: ORIGINAL,
    STREET: Mutant(name="original_on_the_street", story="The same, with other orders beside it.", subject=STREET),
    CANCEL: Mutant(name="original_cancel", story="A subscription's end as it is.", subject=CANCEL),
    DEAR_CANCEL: Mutant(name="original_dear_cancel", story="The same, with an approval.", subject=DEAR_CANCEL),
    UPGRADE: Mutant(name="original_upgrade", story="A plan's upgrade as it is.", subject=UPGRADE),
}
"""What the mutants are copies of, by their subject: nothing may be found in it."""


def subject_of(mutant: Mutant) -> Subject:
    """What is swept: the reference with the fault in it.

    Raises:
        DefinitionError: The fault is refused when the classes are built.
    """
    module, _, name = mutant.subject.partition(":")
    subject: Subject = getattr(_module(mutant, module), name)
    if mutant.workflow is not None:
        subject = replace(subject, workflow=mutant.workflow)
    if mutant.ledger is not None:
        subject = replace(subject, world=partial(_with_ledger, subject.world, mutant.ledger))
    return subject


def _with_ledger(world: Callable[[Wire], World], ledger: Callable[[], Ledger], wire: Wire) -> World:
    built = world(wire)
    built.ledger = ledger()
    return built


def _module(mutant: Mutant, name: str) -> ModuleType:
    """A module as the mutant's edits have made it."""
    original = importlib.import_module(name)  # first, so that all that it imports is there
    if not mutant.edits:
        return original
    texts: dict[str, tuple[str, str]] = {}
    for edit in mutant.edits:
        _, text = texts.get(edit.module, ("", (ROOT / edit.path).read_text(encoding="utf-8")))
        texts[edit.module] = (f"mutants/{mutant.name}/{edit.path}", edit.apply(text))
    with _copies(texts):
        return importlib.import_module(name)


@contextmanager
def _copies(texts: Mapping[str, tuple[str, str]]) -> Iterator[None]:
    """Let the service be imported anew, some of its modules with another text, and put everything back afterwards."""
    kept = {name: sys.modules[name] for name in _affected(texts)}
    for name in kept:
        package, _, attribute = name.rpartition(".")
        delattr(sys.modules[package], attribute)
    for name in kept:
        del sys.modules[name]
    finder = _Edited(texts)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        sys.modules.update(kept)
        for name, module in kept.items():
            package, _, attribute = name.rpartition(".")
            setattr(sys.modules[package], attribute, module)


def _affected(changed: Iterable[str]) -> list[str]:
    """The modules that were made with one of these, and must be made anew: whoever imports from it, and so on."""
    found = set(changed)
    uses = {name: _imports(name) for name in sys.modules if name.startswith(_COPIED)}
    while new := {name for name, used in uses.items() if used & found} - found:
        found |= new
    return sorted(found)


@cache
def _imports(name: str) -> frozenset[str]:
    """The modules, and what may be modules, that a module's source imports from."""
    nodes = [
        node for node in ast.walk(ast.parse(inspect.getsource(sys.modules[name]))) if isinstance(node, ast.ImportFrom)
    ]
    return frozenset(n for node in nodes for n in (node.module or "", *(f"{node.module}.{a.name}" for a in node.names)))


class _Edited(MetaPathFinder):
    """Finds the modules whose text is given; everything else is found as ever."""

    def __init__(self, texts: Mapping[str, tuple[str, str]]) -> None:
        self._texts = texts

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """See base class."""
        if fullname not in self._texts:
            return None
        filename, text = self._texts[fullname]
        return spec_from_loader(fullname, _Text(filename, text), origin=filename)


class _Text(SourceLoader):
    """Loads a module from a text."""

    def __init__(self, filename: str, text: str) -> None:
        self._filename = filename
        self._text = text

    def get_filename(self, fullname: str) -> str:
        """See base class."""
        return self._filename

    def get_data(self, path: str) -> bytes:
        """See base class."""
        return self._text.encode()
