"""What the demo plays on: a Temporal server, the providers, the shop's database, and a worker that can be killed."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final

import temporalio.client
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from kit.testing.sandbox import Sandbox
from kit.testing.sandbox.server import http_server
from kit.worker import ReliabilityPlugin
from temporal.app import App, create_shop
from temporal.intake import Intake
from temporal.processes import ChildProcess
from temporal.server import Server, any_server
from temporal.settings import Settings

ATTEMPT_CAP: Final = timedelta(seconds=3)
"""How long an attempt may take here. The story of the killed worker waits for it for real; see `temporal.timeouts`."""

BAD_BUILD: Final = "demo-bad"
"""The build of the worker that takes over from the one that was killed: what it completes alone is reversed later."""

CRM_SECRET: Final = "whsec_" + b64encode(b"shared by demo and CRM sandbox").decode()
BILLING_SECRET: Final = "whsec_" + b64encode(b"shared by demo, billing sandbox").decode()
"""What CRM and billing sign the webhooks with that they send to the service's intake."""

STICKY: Final = timedelta(seconds=1)
"""How long a workflow waits for a worker that was killed before the next one takes over (Temporal's default: 10 s)."""

WORKER_TIMEOUT: Final = timedelta(seconds=60)
"""How long the worker may take to come up, on a slow and busy machine."""

CHECKOUT: Final = Path(__file__).resolve().parents[2]
"""Where the service's code is."""

_POLL: Final = 0.05  # seconds between two looks whether the worker is up


@dataclass
class Stage:
    """Everything is up.

    Attributes:
        server: The Temporal server.
        client: Starts the orders.
        sandbox: The providers, on real sockets.
        shop: The service's own database, to look into.
        settings: What the worker is told.
        folder: Logs and databases.
        suffix: Makes ids unique on a server that others use, too.
        worker: The worker that is up, or was last.
        taken_over: Set once a worker of the bad build has been started.
    """

    server: Server
    client: Client
    sandbox: Sandbox
    shop: AsyncEngine
    settings: Settings
    folder: Path
    suffix: str
    _environment: Mapping[str, str]
    _stack: AsyncExitStack
    worker: ChildProcess = field(init=False)
    taken_over: asyncio.Event = field(default_factory=asyncio.Event)
    _started: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator[Stage]:
        """Start everything but the worker; stop everything when the block is left.

        Raises:
            ProcessFailed: The server did not come up.
        """
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(any_server(folder, os.environ))
            sandbox = await stack.enter_async_context(Sandbox.start())
            suffix = "" if server.embedded else f"-{uuid.uuid4().hex[:6]}"
            settings = _settings(folder, sandbox, suffix)
            environment = _environment(settings, server, folder)
            shop = create_async_engine(settings.shop_url)
            stack.push_async_callback(shop.dispose)
            await create_shop(shop)
            client = await _connect(server, environment)
            yield cls(server, client, sandbox, shop, settings, folder, suffix, environment, stack)

    @asynccontextmanager
    async def intake(self) -> AsyncIterator[str]:
        """The service's webhook intake on a socket, until the block is left; yields its URL."""
        async with http_server(Intake(App(self._environment)), host="127.0.0.1", port=0) as port:
            yield f"http://127.0.0.1:{port}"

    async def start_worker(self, *, build_id: str | None = None) -> None:
        """Start a worker in a process of its own; ``build_id`` says which code it is, if not the usual."""
        build = {} if build_id is None else {"CHECKOUT_BUILD_ID": build_id}
        self.worker = await self._stack.enter_async_context(
            ChildProcess.start(
                "worker",
                [sys.executable, "-m", "temporal.worker", "--until-stdin-closes"],
                log=self.folder / "worker.log",
                environment={**self._environment, **build},
                cwd=CHECKOUT,
            )
        )
        self._started.set()
        self._started = asyncio.Event()
        if build_id == BAD_BUILD:
            self.taken_over.set()

    async def worker_is_up(self) -> None:
        """Wait until a worker asks for tasks.

        Raises:
            TimeoutError: None did.
        """
        async with asyncio.timeout(WORKER_TIMEOUT.total_seconds()):
            while not await self._polled():  # noqa: ASYNC110 - the server is another process
                await asyncio.sleep(_POLL)

    async def _polled(self) -> bool:
        for kind in (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY):
            request = DescribeTaskQueueRequest(
                namespace=self.client.namespace,
                task_queue=TaskQueue(name=self.settings.task_queue),
                task_queue_type=kind,
            )
            if not (await self.client.workflow_service.describe_task_queue(request)).pollers:
                return False
        return True

    async def watch(self) -> None:
        """Wait for a process to end that was to stay up; never returns.

        Raises:
            ProcessFailed: Always.
        """
        watchers = [asyncio.ensure_future(self._watch_worker())]
        if self.server.process is not None:
            watchers.append(asyncio.ensure_future(_raise_when_dead(self.server.process)))
        try:
            await asyncio.gather(*watchers)
        finally:
            for watcher in watchers:
                watcher.cancel()

    async def _watch_worker(self) -> None:
        while True:
            worker, started = self.worker, self._started
            failed = await worker.died()
            if not worker.killed:
                raise failed
            if self.worker is worker:
                await started.wait()


async def _raise_when_dead(process: ChildProcess) -> None:
    raise await process.died()


async def _connect(server: Server, environment: Mapping[str, str]) -> Client:
    try:
        return await App(environment).connect(ReliabilityPlugin())
    except RuntimeError as error:
        fix = "" if server.embedded else " Start it, or unset TEMPORAL_ADDRESS and profile to have one embedded."
        raise RuntimeError(f"The Temporal server at {server.address} does not answer: {error}.{fix}") from error


def _settings(folder: Path, sandbox: Sandbox, suffix: str) -> Settings:
    return Settings(
        task_queue=f"checkout{suffix}",
        ledger_url=f"sqlite:///{folder / 'effects.db'}",
        shop_url=f"sqlite+aiosqlite:///{folder / 'shop.db'}",
        payments_url=sandbox.url,
        payments_key=SecretStr("sk_test_sandbox"),
        stock_url=sandbox.url,
        fulfilment_url=sandbox.webhook_url,
        fulfilment_secret=SecretStr(sandbox.webhook_secret),
        smtp_host=sandbox.smtp_host,
        smtp_port=sandbox.smtp_port,
        crm_url=sandbox.url,
        crm_token=SecretStr("pat-sandbox"),
        tickets_url=sandbox.url,
        tickets_credentials=SecretStr("agent@example.com/token:sandbox"),
        entitlements_url=sandbox.url,
        enrichment_url=sandbox.url,
        crm_webhook_secrets=SecretStr(CRM_SECRET),
        billing_webhook_secrets=SecretStr(BILLING_SECRET),
        build_id="demo",
        graceful_seconds=1,
        attempt_cap_seconds=ATTEMPT_CAP.total_seconds(),
        sticky_seconds=STICKY.total_seconds(),
    )


def _environment(settings: Settings, server: Server, folder: Path) -> dict[str, str]:
    """The worker's environment: ours, with these settings and this server, and no proxy between us and ourselves."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CHECKOUT_")}
    if server.embedded:
        ours = {name: value for name, value in ours.items() if not name.startswith("TEMPORAL_")}
        empty = folder / "temporal.toml"  # a profile on this machine is not meant for the embedded server
        empty.touch()
        ours["TEMPORAL_CONFIG_FILE"] = str(empty)
    here = ",".join(filter(None, (ours.get("NO_PROXY") or ours.get("no_proxy"), "127.0.0.1", "localhost")))
    said = {**server.environment, **settings.environment(), "NO_PROXY": here, "no_proxy": here}
    return {**ours, **_bytecode(folder), **said}


def _bytecode(folder: Path) -> dict[str, str]:
    """Where Python may keep no bytecode (containers set that), let the second worker use what the first compiled."""
    if not sys.dont_write_bytecode or Path(cache_from_source(temporalio.client.__file__)).exists():
        return {}
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
