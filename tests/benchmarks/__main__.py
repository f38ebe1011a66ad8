"""``python -m tests.benchmarks [saga|ledger|proof|all] [--json] [--quick] [--strict]``.

Ends with 1 when the counts of a history differ (or, with ``--strict``, when a target is missed), else with 0: a missed
speed on somebody's busy machine is told, and is no failure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from tests.benchmarks import engines, ledger, saga, sweeps
from tests.benchmarks.report import Report


async def measure(what: str, *, quick: bool) -> Report:
    """Run what was asked for. Told to end, it ends its servers first."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    report = Report()
    if what in ("saga", "all"):
        report.add("saga", *await saga.run(saga.QUICK if quick else saga.FULL))
    if what in ("ledger", "all"):
        report.add("ledger", *await ledger.run(ledger.QUICK if quick else ledger.FULL))
    if what in ("proof", "all"):
        report.add("engines", *await engines.run(engines.QUICK if quick else engines.FULL))
        report.add("sweeps", *await sweeps.run(sweeps.QUICK if quick else sweeps.FULL))
    return report


@contextmanager
def _stdout_for_us() -> Iterator[None]:
    """Keep what the servers say about themselves out of the document: they inherit this process's output."""
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(ours, 1)
        os.close(ours)


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="The kit beside plain Temporal.")
    parser.add_argument("what", nargs="?", choices=("saga", "ledger", "proof", "all"), default="all")
    parser.add_argument("--json", action="store_true", help="one machine-readable document instead of tables")
    parser.add_argument("--quick", action="store_true", help="a few of each, to see that it runs: no numbers to quote")
    parser.add_argument("--strict", action="store_true", help="exit code 1 when any target is missed")
    asked = parser.parse_args()
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")  # the pip-installable PostgreSQL's
    with _stdout_for_us():
        report = asyncio.run(measure(asked.what, quick=asked.quick))
    print(json.dumps(report.document(), indent=2) if asked.json else report)
    return 1 if report.broken or (asked.strict and report.missed) else 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a process that ran a worker aborts now and then at its regular exit (sdk-python#300)
