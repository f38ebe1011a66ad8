"""Every rule that a `DefinitionError` of the kit states, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import kit

VALUE = "…"
"""Stands for a value that the message shows."""

_REFUSALS = ("refuse", "_refuse")
"""Local helpers that take a rule and its fix and build the error."""


class Rule(NamedTuple):
    """One refusal."""

    room: str
    rule: str
    fix: str


@cache
def rules() -> tuple[Rule, ...]:
    """Every refusal of the kit, in the order of the source."""
    return tuple(_read())


def _read() -> Iterator[Rule]:
    root = Path(kit.__file__).parent
    for path in sorted(root.rglob("*.py")):
        room = path.relative_to(root).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (found := _rule(node)) is not None:
                yield Rule(room, *found)


def _rule(call: ast.Call) -> tuple[str, str] | None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if name == "DefinitionError":
        rule, fix = given.get("rule"), given.get("fix")
    elif name in _REFUSALS and len(call.args) == 2:
        rule, fix = call.args
    else:
        return None
    if rule is None or fix is None or isinstance(rule, ast.Name):  # a helper passes on what its callers say
        return None
    return _text(rule), _text(fix)


def _text(node: ast.expr) -> str:
    """A text with `VALUE` for each value in it."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(VALUE if isinstance(part, ast.FormattedValue) else _text(part) for part in parts)
        case ast.BinOp(left=left, right=right, op=ast.Add()):
            return _text(left) + _text(right)
        case _:
            return VALUE


def table(room: str) -> str:
    """The rules of a room as `docs/reference/errors.md` shows them."""
    rows = dict.fromkeys(f"| {escape(rule.rule)} | {escape(rule.fix)} |" for rule in rules() if rule.room == room)
    return "\n".join(["| rule | fix |", "|---|---|", *(row for row in rows if not row.startswith(f"| {VALUE} |"))])


def escape(text: str) -> str:
    """Plain text for a cell of a Markdown table."""
    for character, written in (("<", "&lt;"), (">", "&gt;"), ("|", r"\|"), ("*", r"\*")):
        text = text.replace(character, written)
    return text


if __name__ == "__main__":
    for shown in dict.fromkeys(rule.room for rule in rules()):
        print(f"{shown}\n\n{table(shown)}\n")  # noqa: T201 - a command prints
