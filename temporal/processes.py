"""Child processes that never outlive the block they are started in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

TAIL: Final = 15
"""How many lines of a log are shown when its process has failed."""


class ProcessFailed(Exception):
    """A child process ended by itself, or did not begin to work.

    Attributes:
        process: Which.
    """

    def __init__(self, process: ChildProcess, what: str) -> None:
        super().__init__(f"The {process.name} {what}. The end of its log, {process.log}:\n{process.log_tail()}")
        self.process = process


@dataclass(slots=True)
class ChildProcess:
    """A process, in a session of its own: a Ctrl-C at the terminal does not reach it, who started it ends it.

    Attributes:
        name: For messages, such as ``"worker"``.
        log: The file it writes its output to.
        killed: Whether `kill` was called: its end is no surprise.
    """

    name: str
    log: Path
    _process: asyncio.subprocess.Process
    killed: bool = False

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        grace: timedelta = timedelta(seconds=5),
    ) -> AsyncIterator[ChildProcess]:
        """Run a command until the block is left, then end it: SIGTERM, and SIGKILL after ``grace``.

        Its standard input is a pipe that nothing is written to: it ends when this process does.

        Raises:
            OSError: It cannot be started.
        """
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=cwd,
                start_new_session=True,
            )
        child = cls(name, log, process)
        try:
            yield child
        finally:
            await child.end(grace)

    @property
    def pid(self) -> int:
        """Its process id, which is also that of its process group."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait until it ends; returns its exit code, negative for a signal."""
        return await self._process.wait()

    async def died(self) -> ProcessFailed:
        """Wait until it ends, and say so."""
        code = await self.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended by itself with exit code {code}"
        return ProcessFailed(self, how)

    async def kill(self) -> None:
        """Kill it at once, as a crash would, and wait until it is gone."""
        self.killed = True
        self._send(signal.SIGKILL)
        await self.wait()

    async def end(self, grace: timedelta) -> None:
        """Ask it to end, and make it. Not interrupted by a cancellation, which goes on afterwards."""
        ending = asyncio.ensure_future(self._end(grace))
        cancelled = False
        while not ending.done():
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:
                cancelled = True
        ending.result()
        if cancelled:
            raise asyncio.CancelledError

    async def _end(self, grace: timedelta) -> None:
        if self._process.returncode is not None:
            return
        self._send(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.wait(), grace.total_seconds())
        self._send(signal.SIGKILL)  # it, or whatever is left of its group
        await self.wait()

    def log_tail(self) -> str:
        """The last lines it wrote."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-TAIL:]) or "  (it wrote nothing)"

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
