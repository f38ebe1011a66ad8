"""The plainest text that a regular expression matches, so that a sample fits a field with a pattern."""

from __future__ import annotations

import re
from collections.abc import Iterator

# What stands behind `re.compile`. It has no public name; its tree has been the same since Python 3.11.
from re import _compiler, _parser  # type: ignore[attr-defined] # private, see above
from re import _constants as op  # type: ignore[attr-defined] # private, see above
from typing import Any, Final

_CHOICE: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@ :/+,;"
"""What a character is chosen from, the plainest first."""


def plainest(pattern: str) -> str | None:
    """A short text that the pattern matches, always the same; ``None`` where none is found.

    Look-arounds and back references are passed over, so what is built is tried before it is returned.
    """
    try:
        tree = _parser.parse(pattern)
        text = "".join(_texts(tree, tree.state))
        return text if re.search(pattern, text) else None
    except (re.error, _BeyondUs):
        return None


class _BeyondUs(Exception):
    """The pattern asks for what is not built here."""


def _texts(tree: Any, state: Any) -> Iterator[str]:
    for code, argument in tree:
        yield _text(code, argument, state)


def _text(code: Any, argument: Any, state: Any) -> str:
    match code:
        case op.LITERAL:
            return chr(argument)
        case op.IN | op.NOT_LITERAL | op.ANY | op.CATEGORY:
            one = _compiler.compile(_parser.SubPattern(state, [(code, argument)]))
            found: str | None = next(filter(one.fullmatch, _CHOICE), None)
            return found or _beyond()
        case op.MAX_REPEAT | op.MIN_REPEAT | op.POSSESSIVE_REPEAT:
            least, most, inner = argument
            count: int = least or min(1, most)
            return "".join(_texts(inner, state)) * count
        case op.SUBPATTERN:
            return "".join(_texts(argument[-1], state))
        case op.ATOMIC_GROUP:
            return "".join(_texts(argument, state))
        case op.BRANCH:
            return "".join(_texts(argument[1][0], state))
        case op.AT | op.ASSERT | op.ASSERT_NOT:
            return ""
        case _:
            return _beyond()


def _beyond() -> str:
    raise _BeyondUs
