"""Child processes never outlive the block they are started in."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from temporal.processes import ChildProcess

SLEEPS = "import time; print('up', flush=True); time.sleep(600)"
IGNORES = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPS
SPAWNS = (
    "import subprocess, sys, time; c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
    "print(c.pid, flush=True); time.sleep(600)"
)

pytestmark = pytest.mark.slow


def python(code: str) -> list[str]:
    """A command that runs some Python."""
    return [sys.executable, "-c", code]


def lives(pid: int) -> bool:
    """Whether there is such a process, or one that nobody has waited for."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text() if Path("/proc").exists() else True


async def logged(log: Path) -> str:
    """Wait for a process's first word."""
    while not log.exists() or not log.read_text():  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(0.01)
    return log.read_text()


async def test_process_ends_with_the_block(tmp_path: Path) -> None:
    """Leaving the block ends the process by SIGTERM."""
    async with ChildProcess.start("sleeper", python(SLEEPS), log=tmp_path / "log") as child:
        await logged(tmp_path / "log")

    assert await child.wait() == -signal.SIGTERM


async def test_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """After its grace a process that does not end is killed."""
    grace = timedelta(milliseconds=100)
    async with ChildProcess.start("stubborn", python(IGNORES), log=tmp_path / "log", grace=grace) as child:
        await logged(tmp_path / "log")

    assert await child.wait() == -signal.SIGKILL


async def test_process_ends_when_the_block_is_cancelled(tmp_path: Path) -> None:
    """A cancellation, however often repeated, waits for the process to be gone and goes on then."""
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def block() -> None:
        grace = timedelta(milliseconds=200)
        async with ChildProcess.start("stubborn", python(IGNORES), log=tmp_path / "log", grace=grace) as child:
            await logged(tmp_path / "log")
            started.set_result(child.pid)
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    pid = await started
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not lives(pid)


async def test_children_of_a_killed_process_go_with_it(tmp_path: Path) -> None:
    """A kill strikes the process's whole group."""
    async with ChildProcess.start("parent", python(SPAWNS), log=tmp_path / "log") as child:
        grandchild = int(await logged(tmp_path / "log"))
        await child.kill()

        while lives(grandchild):  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.01)
        assert child.killed


async def test_death_is_told_with_the_end_of_the_log(tmp_path: Path) -> None:
    """When a process ends by itself, the message has its name, exit code and last lines."""
    code = "import sys; [print('line', n) for n in range(40)]; sys.exit(5)"
    async with ChildProcess.start("worker", python(code), log=tmp_path / "log") as child:
        failed = await child.died()

    told = str(failed)
    assert told.startswith(f"The worker ended by itself with exit code 5. The end of its log, {tmp_path / 'log'}:\n")
    assert told.endswith("  line 39")
    assert "line 24\n" not in told


async def test_death_by_signal_is_told_by_its_name(tmp_path: Path) -> None:
    """A process that was killed is said to have been, with nothing in its log."""
    async with ChildProcess.start(
        "worker", python("import os; os.kill(os.getpid(), 9)"), log=tmp_path / "log"
    ) as child:
        failed = await child.died()

    assert "The worker was killed by SIGKILL." in str(failed)
    assert "(it wrote nothing)" in str(failed)
