"""The Temporal server: configured, or embedded."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import Client

from kit.testing import temporal_binary
from temporal.processes import ProcessFailed
from temporal.server import HOST, Server, _beside, _downloaded, any_server, free_port

NO_PROFILE = {"TEMPORAL_CONFIG_FILE": "/dev/null"}


@pytest.fixture
def taken() -> Iterator[int]:
    """A port somebody listens on."""
    with socket.create_server((HOST, 0)) as listener:
        yield listener.getsockname()[1]


def test_wanted_port_is_taken_when_free(taken: int) -> None:
    """A wanted port that is taken gives way to a free one."""
    assert free_port(taken) not in (0, taken)


async def test_configured_server_is_used(tmp_path: Path) -> None:
    """With TEMPORAL_ADDRESS no server is started, and another process is configured as this one is."""
    environment = {**NO_PROFILE, "TEMPORAL_ADDRESS": "cluster:7233", "TEMPORAL_NAMESPACE": "orders"}

    async with any_server(tmp_path, environment) as server:
        assert server == Server("cluster:7233", "orders", None, embedded=False)
        assert server.environment == {}
        assert server.link("order-1") is None
        assert not list(tmp_path.iterdir())


async def test_profile_is_used(tmp_path: Path) -> None:
    """A profile that names a server is as good as a variable."""
    profile = tmp_path / "temporal.toml"
    profile.write_text('[profile.prod]\naddress = "prod:7233"\nnamespace = "shop"\n', encoding="utf-8")
    environment = {"TEMPORAL_CONFIG_FILE": str(profile), "TEMPORAL_PROFILE": "prod"}

    async with any_server(tmp_path, environment) as server:
        assert (server.address, server.namespace, server.embedded) == ("prod:7233", "shop", False)


def test_link_names_workflow_and_run() -> None:
    """A link leads to the timeline of a run."""
    server = Server("a:1", "default", "http://ui", embedded=True)

    assert server.link("order-1") == "http://ui/namespaces/default/workflows/order-1"
    assert server.link("order-1", "r") == "http://ui/namespaces/default/workflows/order-1/r/timeline"


@pytest.mark.slow
async def test_embedded_server_answers_and_goes(tmp_path: Path) -> None:
    """Without configuration a server is started, answers at once, and is gone after the block."""
    async with any_server(tmp_path, NO_PROFILE) as server:
        client = await Client.connect(server.address, namespace=server.namespace)
        counted = await client.count_workflows()
        process = server.process

    assert counted.count == 0
    assert process is not None
    await process.wait()
    assert server.environment["TEMPORAL_ADDRESS"] == server.address


@pytest.mark.slow
async def test_server_that_does_not_start_is_said_with_its_log(tmp_path: Path) -> None:
    """A server that ends by itself ends the wait at once, with its last words."""
    broken = tmp_path / "temporal"
    broken.write_text("#!/bin/sh\necho no disk left\nexit 4\n", encoding="utf-8")
    broken.chmod(0o755)

    with pytest.raises(ProcessFailed, match=r"(?s)The Temporal server ended by itself with exit code 4.*no disk left"):
        async with _beside(str(broken), tmp_path):
            pass


@pytest.mark.slow
async def test_server_of_the_sdk_does_not_write_between_our_lines(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where the SDK starts the server (no wheel), what that prints goes into its log and not to standard output."""
    async with _downloaded(tmp_path, existing=temporal_binary()) as server:
        await Client.connect(server.address)
        async with asyncio.timeout(30):
            while "Temporal Server" not in (tmp_path / "server.log").read_text():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        sys.stdout.write("ours\n")

    assert capfd.readouterr().out == "ours\n"
