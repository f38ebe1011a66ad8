"""Run a worker until it is told to stop: ``kit worker``, or ``python -m temporal.worker``.

SIGTERM and Ctrl-C stop it gracefully: it takes no new task, finishes what is at work for up to
``CHECKOUT_GRACEFUL_SECONDS``, and closes its connections. A second signal changes nothing: whoever cannot wait sends
SIGKILL, which the ledger is made for.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from typing import TYPE_CHECKING

import structlog

from kit.cli.leave import leave
from kit.errors import KitError
from kit.telemetry import configure_logging
from temporal.logs import runtime

if TYPE_CHECKING:  # the app imports this module, and `main` does the rest
    from temporal.app import App

_log = structlog.stdlib.get_logger("temporal.worker")


async def work(app: App, *, until_stdin_closes: bool = False) -> int:
    """Run a worker; returns the exit code: 0 when it was told to stop, 1 when it failed.

    Args:
        app: The service.
        until_stdin_closes: Stop also when standard input ends: when the process that started this one is gone,
            however it went.

    Raises:
        DefinitionError: The settings are incomplete, or a workflow and its connectors do not fit together.
    """
    settings = app.settings
    configure_logging(level=settings.log_level)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if until_stdin_closes:
        await loop.connect_read_pipe(lambda: _UntilClosed(stop), sys.stdin)
    try:
        async with app.worker(runtime=runtime(metrics_address=settings.metrics_address)) as worker:
            running = asyncio.create_task(worker.run())
            stopping = asyncio.create_task(stop.wait())
            _log.info("worker.started", task_queue=settings.task_queue)
            await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
            _log.info("worker.stopping", asked=stop.is_set())
            stopping.cancel()
            if stop.is_set():
                await worker.shutdown()
            await running
    except KitError:
        raise
    except Exception:  # whatever it is, it ends the process with the honest code, and is in the log
        _log.exception("worker.failed")
        return 1
    _log.info("worker.stopped")
    return 0


class _UntilClosed(asyncio.Protocol):
    """Sets an event when a pipe ends."""

    def __init__(self, closed: asyncio.Event) -> None:
        self._closed = closed

    def connection_lost(self, error: Exception | None) -> None:
        self._closed.set()


def main() -> None:
    """The command."""
    from temporal.app import app  # noqa: PLC0415 - it imports this module

    parser = argparse.ArgumentParser(prog="python -m temporal.worker", description="Run a worker of the checkout.")
    parser.add_argument("--until-stdin-closes", action="store_true", help="stop also when standard input ends")
    options = parser.parse_args()
    try:
        code = asyncio.run(work(app, until_stdin_closes=options.until_stdin_closes))
    except KitError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    leave(code)


if __name__ == "__main__":
    main()
