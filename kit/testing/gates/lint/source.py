"""One file: its tree, and what its names mean."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from kit.errors import DefinitionError

Function = ast.FunctionDef | ast.AsyncFunctionDef
"""A function or method."""


class Source:
    """A Python file, parsed.

    Args:
        path: The file.
        module: Its dotted name.

    Raises:
        DefinitionError: It cannot be read as Python.
    """

    def __init__(self, path: Path, module: str) -> None:
        self.path = path
        self.module = module
        try:
            self.text = path.read_text(encoding="utf-8")
            self.tree = ast.parse(self.text, filename=str(path))
        except (SyntaxError, UnicodeDecodeError, ValueError) as error:
            raise DefinitionError(str(path), rule=f"it is no Python: {error}", fix="mend the file") from error

    @cached_property
    def names(self) -> dict[str, str]:
        """What the names of the module mean, as dotted names: its imports, and what it defines itself."""
        found: dict[str, str] = {}
        package = self.module if self.path.name == "__init__.py" else self.module.rpartition(".")[0]
        for node in ast.walk(self.tree):
            match node:
                case ast.Import(names=aliases):
                    for alias in aliases:
                        first = alias.name.partition(".")[0]
                        found[alias.asname or first] = alias.name if alias.asname else first
                case ast.ImportFrom(module=module, names=aliases, level=level):
                    # One dot is the package, each further one the package above.
                    above = package.rsplit(".", level - 1)[0] if level > 1 else package
                    origin = module or "" if level == 0 else f"{above}.{module}" if module else above
                    found.update({alias.asname or alias.name: f"{origin}.{alias.name}" for alias in aliases})
        for name in self.definitions:
            found[name] = f"{self.module}.{name}"
        return found

    @cached_property
    def definitions(self) -> dict[str, ast.AST]:
        """What the module defines: classes, functions, and the values it assigns."""
        found: dict[str, ast.AST] = {}
        for node in self.tree.body:
            match node:
                case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found[name] = node
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    found[name] = value
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    found[name] = value
        return found

    @cached_property
    def _parents(self) -> dict[ast.AST, ast.AST]:
        return {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def ancestors(self, node: ast.AST) -> Iterator[ast.AST]:
        """What a node stands in, the nearest first."""
        while (above := self._parents.get(node)) is not None:
            yield above
            node = above

    def meaning(self, expression: ast.AST | None) -> str:
        """The dotted name that an expression is, its first part as the module means it; empty for anything else."""
        path: list[str] = []
        while isinstance(expression, ast.Attribute):
            path.append(expression.attr)
            expression = expression.value
        if not isinstance(expression, ast.Name):
            return ""
        return ".".join([self.names.get(expression.id, expression.id), *reversed(path)])

    @cached_property
    def classes(self) -> list[ast.ClassDef]:
        """Every class of the file."""
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)]


def methods(cls: ast.ClassDef) -> list[Function]:
    """The methods that a class itself defines, in order."""
    return [node for node in cls.body if isinstance(node, Function)]


def within(*nodes: ast.AST) -> Iterator[ast.AST]:
    """The nodes and what is in them, but for functions and classes defined inside: those run at another time."""
    waiting = list(reversed(nodes))
    while waiting:
        node = waiting.pop()
        yield node
        inner = [child for child in ast.iter_child_nodes(node) if not isinstance(child, Function | ast.ClassDef)]
        waiting.extend(child for child in reversed(inner) if not isinstance(child, ast.Lambda))


def calls(*nodes: ast.AST) -> Iterator[ast.Call]:
    """The calls among them, in the order of the source."""
    found = [node for node in within(*nodes) if isinstance(node, ast.Call)]
    yield from sorted(found, key=lambda call: (call.lineno, call.col_offset))


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """The value of a keyword argument, unless it is absent or ``None``."""
    for given in call.keywords:
        if given.arg == name:
            nothing = isinstance(given.value, ast.Constant) and given.value.value is None
            return None if nothing else given.value
    return None


def of_self(expression: ast.AST) -> str:
    """``name`` of an expression ``self.name``; empty for anything else."""
    match expression:
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return name
    return ""


def assigned(function: ast.AST, name: str) -> ast.expr | None:
    """The value that a function gives a name, when it does so exactly once."""
    found: list[ast.expr] = []
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
                found.append(value)
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value) if target == name:
                found.append(value)
            case ast.AugAssign(target=ast.Name(id=target)) | ast.For(target=ast.Name(id=target)) if target == name:
                return None
    return found[0] if len(found) == 1 else None


def always_raises(body: list[ast.stmt]) -> bool:
    """Whether every way through these statements ends with a raise."""
    for statement in body:
        match statement:
            case ast.Raise():
                return True
            case ast.If(body=then, orelse=other) if always_raises(then) and always_raises(other):
                return True
            case ast.Try(body=tried, handlers=[], finalbody=last) if always_raises(tried) or always_raises(last):
                return True
            case ast.With(body=inner) if always_raises(inner):
                return True
    return False
