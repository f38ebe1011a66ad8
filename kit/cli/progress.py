"""How far a sweep has come, told on standard error: a bar at a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from kit.testing.sweep import Progress as Step

_EVERY: Final = 10.0
"""Seconds between two lines where there is no terminal."""

_REDRAWN: Final = 0.1
"""Seconds between two updates of the bar: a scenario takes less than a hundredth of that."""


class Teller:
    """Tells how far the sweep of one workflow has come.

    Args:
        workflow: Its type.
    """

    def __init__(self, workflow: str) -> None:
        self._workflow = workflow
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._told = 0.0

    def __enter__(self) -> Self:
        """Begin."""
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("scenarios"),
                TextColumn("{task.fields[violating]}"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._workflow, total=None, violating="")
        else:
            self._say("begins")
        self._told = time.monotonic()
        return self

    def __call__(self, step: Step) -> None:
        """One more scenario is known."""
        now = time.monotonic()
        if now - self._told < (_EVERY if self._bar is None else _REDRAWN):
            return
        self._told = now
        violating = f"{step.violating:,} violating" if step.violating else ""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step.done, total=step.planned, violating=violating)
        else:
            self._say(f"{step.done:,} of {step.planned:,} scenarios so far" + (f", {violating}" if violating else ""))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; the bar is taken away."""
        if self._bar is not None:
            self._bar.stop()

    def _say(self, text: str) -> None:
        print(f"{self._workflow}: {text}", file=sys.stderr, flush=True)
