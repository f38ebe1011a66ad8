"""The worker's process: how it begins, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.testing import WorkflowEnvironment

from temporal.settings import Settings

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Complete settings, and a Temporal server that does not exist."""
    settings = Settings(
        ledger_url=f"sqlite:///{tmp_path / 'effects.db'}",
        shop_url=f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}",
        payments_key=SecretStr("sk_test_1"),
        stock_url="http://127.0.0.1:9",
        fulfilment_url="http://127.0.0.1:9",
        fulfilment_secret=SecretStr("whsec_c2VjcmV0"),
        smtp_host="127.0.0.1",
        build_id="tests",
        graceful_seconds=1,
    )
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("CHECKOUT_", "TEMPORAL_"))}
    return {
        **ours,
        **settings.environment(),
        "TEMPORAL_ADDRESS": "127.0.0.1:9",
        "TEMPORAL_CONFIG_FILE": os.devnull,
    }


class Worker:
    """A worker's process, with its standard input and its log."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "temporal.worker", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def read_until(self, event: str) -> dict[str, Any]:
        """Read the log up to an event, and return that."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            found: dict[str, Any] = json.loads(line)
            if found["event"] == event:
                return found
        raise AssertionError(f"no {event!r} in the log")


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    """Workers that are gone after the test."""
    started: list[Worker] = []
    yield started
    for worker in started:
        with worker.process:  # waits for it, and closes its pipes
            worker.process.kill()


@pytest.fixture
def connected(environment: dict[str, str], server: WorkflowEnvironment) -> dict[str, str]:
    """Complete settings, and a server that is there."""
    return {**environment, "TEMPORAL_ADDRESS": server.client.service_client.config.target_host}


def test_missing_settings_are_exit_code_2(workers: list[Worker]) -> None:
    """A worker without settings says which, on one line of stderr, and exits with 2."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("CHECKOUT_")}
    worker = Worker(bare)
    workers.append(worker)

    out, err = worker.process.communicate()

    assert (worker.process.returncode, out) == (2, "")
    assert err.startswith("error: environment: CHECKOUT_PAYMENTS_KEY is missing;")


def test_server_that_is_not_there_is_exit_code_1(workers: list[Worker], environment: dict[str, str]) -> None:
    """A worker that cannot connect logs why, as JSON, and exits with 1."""
    worker = Worker(environment)
    workers.append(worker)

    failed = worker.read_until("worker.failed")

    assert worker.process.wait() == 1
    assert "Connection refused" in failed["exception"]


def test_sigterm_is_a_graceful_end(workers: list[Worker], connected: dict[str, str]) -> None:
    """SIGTERM stops a running worker, which says so and exits with 0."""
    worker = Worker(connected)
    workers.append(worker)
    worker.read_until("worker.started")

    worker.process.send_signal(signal.SIGTERM)

    worker.read_until("worker.stopped")
    assert worker.process.wait() == 0


def test_worker_ends_with_the_process_that_started_it(workers: list[Worker], connected: dict[str, str]) -> None:
    """With --until-stdin-closes a worker ends when its standard input does: its starter may have been killed."""
    worker = Worker(connected, "--until-stdin-closes")
    workers.append(worker)
    worker.read_until("worker.started")

    assert worker.process.stdin is not None
    worker.process.stdin.close()

    worker.read_until("worker.stopped")
    assert worker.process.wait() == 0
