"""Several processes: as quiet as one, with the same verdict, and gone when the sweep is."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

ENDLESS = """
import asyncio, signal
from kit.testing.sweep import sweep
from tests.testing.sweep.toy import TOY, Foreseeing

STEPS = tuple(f"step{number}" for number in range(60))


def long() -> Foreseeing:
    return Foreseeing(steps=STEPS)


def told(progress):
    if progress.done == 3:
        print("under way", flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores interrupts
    asyncio.run(sweep(TOY, engine=long, depth=2, workers=2, progress=told))
"""

QUIET = """
import asyncio, logging, sys
from kit.testing.faults import FaultKind as Kind
from kit.testing.sweep import sweep
from tests.testing.sweep.test_verdict import gist
from tests.worlds import TWO_STEPS

KINDS = (Kind.REPLY_LOST, Kind.CANCEL_DURING)

if __name__ == "__main__":
    logging.getLogger().addHandler(logging.NullHandler())  # as `kit verify` does
    print(gist(asyncio.run(sweep(TWO_STEPS, depth=2, kinds=KINDS, workers=int(sys.argv[1])))))
"""


def started(script: str, path: Path, *arguments: str, seed: str = "0") -> subprocess.Popen[str]:
    """A script in a process group of its own."""
    file = path / "sweeping.py"
    file.write_text(script)
    return subprocess.Popen(
        [sys.executable, str(file), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_no_process_is_left_behind(how: signal.Signals, tmp_path: Path) -> None:
    """An interrupt from the keyboard reaches all of them, a kill only the first; both end all of them."""
    running = started(ENDLESS, tmp_path)
    assert running.stdout is not None
    assert running.stdout.readline() == "under way\n"

    if how is signal.SIGINT:
        os.killpg(running.pid, how)
    else:
        running.send_signal(how)
    # The end of its output is the end of every process that could write to it.
    _, error = running.communicate(timeout=120)

    assert running.returncode != 0
    assert "SpawnProcess" not in error


@pytest.mark.slow
def test_saga_has_the_same_verdict_in_one_process_and_in_two(tmp_path: Path) -> None:
    """All of it, counts included, whatever the hash seed; and nobody logs the attempts that were meant to fail."""
    paths = [tmp_path / "one", tmp_path / "two"]
    for path in paths:
        path.mkdir()

    sweeps = [started(QUIET, path, str(workers), seed=str(workers)) for workers, path in enumerate(paths, start=1)]
    (one, said), (two, crew) = [running.communicate(timeout=240) for running in sweeps]

    assert one.startswith("('Sell: no violation"), said
    assert one == two
    assert "Traceback" not in crew
    assert "operation." not in crew, crew
