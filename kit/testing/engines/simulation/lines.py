"""Which line of a workflow's code is waiting."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from types import CoroutineType
from typing import Any

from kit.testing.engines.simulation.bridge import Instance


def awaiting(instance: Instance | None, workflow: type) -> str | None:
    """The line of the workflow's own module that awaits something, as ``file:line``.

    A saga's body runs in a task of its own, and so may what it does at once: of each task the deepest line counts, and
    of several the last in the file.

    Args:
        instance: The live workflow; a sandboxed one tells nothing.
        workflow: Its class.

    Returns:
        ``None`` when the worker does not have the workflow, or nothing of its own module awaits: while the kit undoes
        its steps, for instance.
    """
    file = _file(workflow.__module__)
    if instance is None or file is None:
        return None
    lines = [line for coroutine in instance.coroutines if (line := _deepest(coroutine, file)) is not None]
    return f"{_short(file)}:{max(lines)}" if lines else None


def _file(module: str) -> str | None:
    return getattr(sys.modules.get(module), "__file__", None)


def _deepest(coroutine: Any, file: str) -> int | None:
    line = None
    while type(coroutine) is CoroutineType:
        frame = coroutine.cr_frame
        if frame is not None and frame.f_code.co_filename == file:
            line = frame.f_lineno
        coroutine = coroutine.cr_await
    return line


@cache
def _short(file: str) -> str:
    path = Path(file)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return path.name
