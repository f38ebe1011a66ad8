"""Starting a real server for tests."""

from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from kit.testing import start_time_skipping
from kit.testing.server import STARTS

SLOW = "Failed starting Temporal dev server: ephemeral server at 127.0.0.1:1 did not start within 5s"


def starting(monkeypatch: pytest.MonkeyPatch, *errors: str) -> list[str]:
    """Let the next starts fail; the list fills with what they were asked for."""
    asked: list[str] = []

    async def start(**options: Any) -> str:
        asked.append("start")
        if len(asked) <= len(errors):
            raise RuntimeError(errors[len(asked) - 1])
        return "a server"

    monkeypatch.setattr(WorkflowEnvironment, "start_time_skipping_v2", start)
    return asked


async def test_server_that_is_slow_to_start_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine needs longer than the SDK waits."""
    asked = starting(monkeypatch, SLOW, SLOW)

    assert str(await start_time_skipping()) == "a server"
    assert len(asked) == 3


@pytest.mark.parametrize(("errors", "starts"), [([SLOW] * STARTS, STARTS), (["no such file"], 1)])
async def test_server_that_does_not_start_is_an_error(
    monkeypatch: pytest.MonkeyPatch, errors: list[str], starts: int
) -> None:
    """Not for ever, and not where another try would change nothing."""
    asked = starting(monkeypatch, *errors)

    with pytest.raises(RuntimeError, match=errors[-1]):
        await start_time_skipping()

    assert len(asked) == starts
