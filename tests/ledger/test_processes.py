"""Several worker processes on one SQLite file, and what is left when one of them is killed."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from kit.ledger import SqliteLedger, State

CHECKOUT = Path(__file__).resolve().parents[2]
KEYS = 300


def start(path: Path, owner: str, keys: int) -> "subprocess.Popen[str]":
    """A worker process that waits for a line before it begins."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.ledger._racer", str(path), owner, str(keys)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


@pytest.mark.slow
async def test_processes_that_race_have_one_winner_per_key(tmp_path: Path) -> None:
    """Of several processes that claim the same keys, exactly one wins each key, and all keys are done."""
    path = tmp_path / "ledger.db"
    workers = {owner: start(path, owner, KEYS) for owner in ("a", "b", "c")}

    for worker in workers.values():
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    told = {owner: worker.communicate()[0].splitlines() for owner, worker in workers.items()}

    assert [worker.returncode for worker in workers.values()] == [0, 0, 0]
    claims = Counter(line for lines in told.values() for line in lines if line.startswith("claimed"))
    assert claims == {f"claimed k{n}": 1 for n in range(KEYS)}
    async with SqliteLedger(path) as ledger:
        rows = await ledger.of_saga("checkout-1")
    assert {(row.key, row.state) for row in rows} == {(f"k{n}", State.DONE) for n in range(KEYS)}
    assert all(f"done {row.key}" in told[row.owner] for row in rows)


@pytest.mark.slow
async def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    """After SIGKILL in the middle of its work, every answer the process had been given is in the file."""
    path = tmp_path / "ledger.db"
    worker = start(path, "a", 1_000_000)
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()
    told = [worker.stdout.readline().split() for _ in range(500)]

    worker.kill()
    told += [line.split() for line in worker.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]

    async with SqliteLedger(path) as ledger:
        rows = {row.key: row for row in await ledger.of_saga("checkout-1")}
    assert len(told) >= 500
    for what, key in told:
        assert rows[key].state is State.DONE if what == "done" else key in rows
