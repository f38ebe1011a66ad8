"""HTML by construction: what is text is escaped, because only an element is not."""

from __future__ import annotations

import re
from html import escape
from typing import Final

_VOID: Final = frozenset({"br", "input", "meta", "wbr"})
"""Elements of HTML that have no end tag."""

_JOINTS: Final = re.compile(r"(?<=[._:#/+=])(?=\w)")
"""Between the parts of an id."""


class Markup(str):
    """HTML that is safe to put into a page as it is."""

    __slots__ = ()


def tag(name: str, /, *content: str, **attributes: str | int | float | bool | None) -> Markup:
    """An element.

    Args:
        name: Its name.
        content: Its children. A plain string is text and is escaped; a `Markup` is put in as it is.
        attributes: Its attributes; a trailing underscore is dropped and others become dashes (``class_``,
            ``data_endings``). ``None`` and ``False`` leave one out, ``True`` gives it no value.
    """
    written = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        written.append(key if value is True else f'{key}="{escape(str(value))}"')
    opened = f"<{' '.join(written)}>"
    return Markup(opened) if name in _VOID else Markup(f"{opened}{join(*content)}</{name}>")


def join(*content: str) -> Markup:
    """Pieces one after the other; plain strings are escaped."""
    return Markup("".join(piece if isinstance(piece, Markup) else escape(piece, quote=False) for piece in content))


def breakable(text: str) -> Markup:
    """A text whose ids, such as ``payments.capture#1:reply_lost``, may be broken where their parts meet."""
    return Markup(tag("wbr").join(join(part) for part in _JOINTS.split(text)))
