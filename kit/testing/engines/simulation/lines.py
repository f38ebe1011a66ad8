"""Which line of a workflow's code is waiting."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

from kit.testing.engines.simulation.bridge import Instance


def awaiting(instance: Instance | None, workflow: type) -> str | None:
    """The deepest line of the workflow's own module that awaits something, as ``file:line``.

    Args:
        instance: The live workflow.
        workflow: Its class.

    Returns:
        ``None`` when the worker does not have the workflow, or it awaits nothing.
    """
    module = sys.modules.get(workflow.__module__)
    file = getattr(module, "__file__", None)
    if instance is None or file is None:
        return None
    for coroutine in instance.coroutines:
        line = _deepest(coroutine, file)
        if line is not None:
            return f"{_short(file)}:{line}"
    return None


def _deepest(coroutine: Any, file: str) -> int | None:
    line = None
    while inspect.iscoroutine(coroutine):
        frame = coroutine.cr_frame
        if frame is not None and frame.f_code.co_filename == file:
            line = frame.f_lineno
        coroutine = coroutine.cr_await
    return line


def _short(file: str) -> str:
    path = Path(file)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return path.name
