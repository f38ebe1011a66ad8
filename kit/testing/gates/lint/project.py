"""All files together: which classes are workflows, sagas and connectors, and which values are operations."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kit.testing.gates.lint.source import Source, keyword

_WORKFLOW: Final = "temporalio.workflow.defn"


@dataclass(frozen=True, slots=True)
class DeclaredOperation:
    """What the source says of an operation.

    Attributes:
        name: Its name; empty where the source does not say.
        effect: The name of its effect, such as ``IRREVERSIBLE``; empty likewise.
        key: Its key template; empty likewise.
    """

    name: str
    effect: str
    key: str


class Project:
    """The files of a service.

    Files that are not linted are read where a linted one imports from them, below the same folder.

    Args:
        root: The folder from which modules are imported.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._sources: dict[Path, Source] = {}
        self._kinds: dict[tuple[str, str], bool] = {}

    def source(self, path: Path) -> Source:
        """A file, read once.

        Raises:
            DefinitionError: It cannot be read as Python.
        """
        path = path.resolve()
        if path not in self._sources:
            self._sources[path] = Source(path, self._module(path))
        return self._sources[path]

    def _module(self, path: Path) -> str:
        below = path.relative_to(self.root) if path.is_relative_to(self.root) else Path(path.name)
        parts = below.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def definition(self, name: str) -> tuple[Source, ast.AST] | None:
        """Where a dotted name is defined, followed through imports; ``None`` where it is not in these files."""
        for _ in range(10):  # a chain of imports longer than that goes round in circles
            module, _, attribute = name.rpartition(".")
            source = self._find(module)
            if source is None:
                return None
            if attribute in source.definitions:
                return source, source.definitions[attribute]
            if attribute not in source.names:
                return None
            name = source.names[attribute]
        return None

    def class_named(self, name: str) -> tuple[Source, ast.ClassDef] | None:
        """Where a class of a dotted name is defined; ``None`` where it is not in these files, or no class."""
        found = self.definition(name)
        return (found[0], found[1]) if found is not None and isinstance(found[1], ast.ClassDef) else None

    def _find(self, module: str) -> Source | None:
        if not module:
            return None
        place = self.root.joinpath(*module.split("."))
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                return self.source(path)
        return next((source for source in self._sources.values() if source.module == module), None)

    # -- kinds of classes ------------------------------------------------------------------------------------------

    def is_saga(self, source: Source, cls: ast.ClassDef) -> bool:
        """Whether a class is a saga."""
        return self._derives(source, cls, "SagaWorkflow")

    def is_connector(self, source: Source, cls: ast.ClassDef) -> bool:
        """Whether a class is a connector."""
        return self._derives(source, cls, "Connector")

    def is_workflow(self, source: Source, cls: ast.ClassDef) -> bool:
        """Whether a class is a workflow, of whatever sort."""
        decorators = (one.func if isinstance(one, ast.Call) else one for one in cls.decorator_list)
        return any(source.meaning(one) == _WORKFLOW for one in decorators) or self.is_saga(source, cls)

    def _derives(self, source: Source, cls: ast.ClassDef, base: str) -> bool:
        known = (f"{source.module}.{cls.name}", base)
        if known not in self._kinds:
            self._kinds[known] = False  # a class that derives from itself, as far as names tell
            self._kinds[known] = any(self._leads_to(source.meaning(parent), base) for parent in cls.bases)
        return self._kinds[known]

    def _leads_to(self, name: str, base: str) -> bool:
        if name.startswith("kit.") and name.endswith(f".{base}"):
            return True
        found = self.class_named(name)
        return found is not None and self._derives(*found, base)

    def saga_named(self, source: Source, expression: ast.AST) -> str:
        """The name of the saga that ``Class``, ``Class.run`` or ``"Class"`` is; empty for anything else."""
        if isinstance(expression, ast.Constant):
            named = [cls for s in self._sources.values() for cls in s.classes if cls.name == expression.value]
            at = {id(cls): s for s in self._sources.values() for cls in s.classes}
            return next((cls.name for cls in named if self.is_saga(at[id(cls)], cls)), "")
        name = source.meaning(expression)
        for candidate in (name, name.rpartition(".")[0]):
            found = self.class_named(candidate)
            if found is not None and self.is_saga(*found):
                return found[1].name
        return ""

    # -- operations ------------------------------------------------------------------------------------------------

    def operation(self, source: Source, expression: ast.AST) -> DeclaredOperation | None:
        """The operation that an expression names; ``None`` where the files do not say."""
        found = self.definition(source.meaning(expression))
        return None if found is None else declared(*found)

    def operation_named(self, name: str, *, near: Source) -> bool:
        """Whether a file read so far, or one that ``near`` imports from, declares an operation of this name."""
        for meaning in near.names.values():
            if self._find(meaning) is None:
                self._find(meaning.rpartition(".")[0])
        return any(
            (one := declared(source, value)) is not None and one.name == name
            for source in self._sources.values()
            for value in source.definitions.values()
        )


def declared(source: Source, value: ast.AST) -> DeclaredOperation | None:
    """The operation that a value builds, if it builds one."""
    if not isinstance(value, ast.Call):
        return None
    called = source.meaning(value.func)
    if not (called.startswith("kit.") and called.endswith(".Operation")):
        return None
    first = value.args[0] if value.args else keyword(value, "name")
    effect = keyword(value, "effect")
    return DeclaredOperation(
        name=_text(first),
        effect=effect.attr if isinstance(effect, ast.Attribute) else "",
        key=_text(keyword(value, "key")),
    )


def _text(expression: ast.AST | None) -> str:
    return expression.value if isinstance(expression, ast.Constant) and isinstance(expression.value, str) else ""
