"""Where a thing can be imported from: for a test that is written, and for another process."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from typing import Any


def where(thing: Any) -> tuple[str, str] | None:
    """The module and the name under which a thing can be imported."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if isinstance(module, str) and isinstance(name, str):
        return (module, name) if module in sys.modules and "<" not in name and module != "__main__" else None
    found = [
        (module, name)
        for module, loaded in sorted(sys.modules.items())
        if module != "__main__"
        for name, value in _attributes(loaded)
        if value is thing
    ]
    # Where it is defined, and not where it was imported to: the longest name says most.
    return max(found, key=lambda where: (where[0].count("."), where), default=None)


def _attributes(module: Any) -> Iterable[tuple[str, Any]]:
    found = getattr(module, "__dict__", {})
    return [(name, value) for name, value in list(found.items()) if not name.startswith("_")]


def imported(module: str, name: str) -> Any:
    """The thing that a module has under a name."""
    return getattr(importlib.import_module(module), name)
