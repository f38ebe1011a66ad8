"""The checkout on the kit beside the hand-written one: same run, same server, same process, in turns.

Counts come from one run alone in which `payments.authorize` is held back until its sibling's result has been handled:
otherwise two results that arrive together share a workflow task now and then, and histories differ by three events
for no reason of anybody's.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor, Worker

from kit.ledger import Ledger, MemoryLedger, PostgresLedger, SqliteLedger
from kit.testing.server import FAST, server_arguments, temporal_binary
from kit.worker import ReliabilityPlugin
from tests.benchmarks.by_hand import HAND_ACTIVITIES, HandCheckout
from tests.benchmarks.contract import Cart
from tests.benchmarks.on_kit import KitCheckout, Shop
from tests.benchmarks.postgres import postgres
from tests.benchmarks.report import Spread, Table, Target
from tests.harness import History

HAND: Final = "hand-written"
SQLITE: Final = "kit, SQLite"
MEMORY: Final = "kit, memory"
POSTGRES: Final = "kit, PostgreSQL"
VARIANTS: Final = (HAND, SQLITE, MEMORY, POSTGRES)

AT_ONCE: Final = 50
"""Workflows in flight."""

THROUGHPUT: Final = 0.9
"""The kit with the SQLite ledger, as a share of the hand-written saga."""


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
        rounds: Each on a server of its own: the dev server slows as closed workflows pile up.
        turns: How often hand-written and kit with SQLite take turns in a round; the others have one turn.
        workflows: In each turn of each variant.
    """

    rounds: int
    turns: int
    workflows: int


FULL: Final = Size(rounds=4, turns=4, workflows=50)
QUICK: Final = Size(rounds=1, turns=1, workflows=2)


@dataclass(frozen=True)
class Counts:
    """What one run leaves in its history."""

    events: int
    activities: int
    timers: int
    bytes: int

    @property
    def equal_parts(self) -> tuple[int, int, int]:
        """What must not differ between the two."""
        return self.events, self.activities, self.timers


@dataclass(frozen=True)
class Turn:
    """What one variant did when it was its turn."""

    workflows: int
    seconds: float
    cpu: float
    latencies: list[float]

    @property
    def rate(self) -> float:
        """Workflows per second."""
        return self.workflows / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Processor time of this process (worker and client) per workflow."""
        return 1000 * self.cpu / self.workflows

    def percentile(self, n: int) -> float:
        """Latency in milliseconds."""
        return 1000 * statistics.quantiles(self.latencies, n=100, method="inclusive")[n - 1]


@dataclass
class Site:
    """A variant's client, queue and worker."""

    client: Client
    queue: str
    run: Callable[..., Any]
    hold: _Hold

    async def one(self) -> float:
        """One workflow from start to result; the seconds it took."""
        began = time.perf_counter()
        await self.client.execute_workflow(self.run, _cart(), id=f"bench-{uuid.uuid4().hex}", task_queue=self.queue)
        return time.perf_counter() - began

    async def turn(self, workflows: int) -> Turn:
        """Many workflows, so many at once."""
        places = asyncio.Semaphore(AT_ONCE)

        async def placed() -> float:
            async with places:
                return await self.one()

        began, cpu = time.perf_counter(), time.process_time()
        latencies = await asyncio.gather(*(placed() for _ in range(workflows)))
        seconds = time.perf_counter() - began
        return Turn(workflows, seconds, time.process_time() - cpu, latencies)

    async def counts(self) -> Counts:
        """What one run alone leaves in its history."""
        self.hold.client = self.client
        handle = await self.client.start_workflow(
            self.run, _cart(), id=f"bench-{uuid.uuid4().hex}", task_queue=self.queue
        )
        await handle.result()
        self.hold.client = None
        history = History(await handle.fetch_history())
        return Counts(
            events=len(history.raw.events),
            activities=len(history.activities),
            timers=history.timers,
            bytes=sum(event.ByteSize() for event in history.raw.events),
        )


class _Hold(Interceptor):
    """Holds ``payments.authorize`` back until its sibling's result has been handled, while it has a client."""

    def __init__(self) -> None:
        self.client: Client | None = None

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        hold = self

        class Inbound(ActivityInboundInterceptor):
            async def execute_activity(self, input: ExecuteActivityInput) -> Any:
                if hold.client is not None and activity.info().activity_type == "payments.authorize":
                    await _sibling_handled(hold.client, activity.info().workflow_id or "")
                return await super().execute_activity(input)

        return Inbound(next)


async def _sibling_handled(client: Client, workflow_id: str) -> None:
    completed = False
    async for event in client.get_workflow_handle(workflow_id).fetch_history_events(wait_new_event=True):
        completed = completed or event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
        if completed and event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            return


def _cart() -> Cart:
    return Cart(order_id=uuid.uuid4().hex, sku="teapot", quantity=2, amount=4200, currency="eur")


@asynccontextmanager
async def _sites(ledgers: dict[str, Ledger]) -> AsyncIterator[dict[str, Site]]:
    """A fresh server with a worker of each variant."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            await WorkflowEnvironment.start_local(
                dev_server_existing_path=temporal_binary(), dev_server_extra_args=server_arguments(FAST)
            )
        )
        sites: dict[str, Site] = {}
        for name in VARIANTS:
            config, hold, queue = server.client.config(), _Hold(), f"bench-{uuid.uuid4().hex}"
            if name == HAND:
                config["data_converter"] = pydantic_data_converter
                client = Client(**config)
                worker = Worker(
                    client,
                    task_queue=queue,
                    workflows=[HandCheckout],
                    activities=HAND_ACTIVITIES,
                    interceptors=[hold],
                )
            else:
                config["plugins"] = [ReliabilityPlugin(ledger=ledgers[name], connectors=[Shop()])]
                client = Client(**config)
                worker = Worker(client, task_queue=queue, workflows=[KitCheckout], interceptors=[hold])
            await stack.enter_async_context(worker)
            run: Callable[..., Any] = HandCheckout.run if name == HAND else KitCheckout.run
            sites[name] = Site(client, queue, run, hold)
        yield sites


async def measure(size: Size) -> tuple[dict[str, Counts], list[dict[str, Turn]]]:
    """Counts of each variant, and what each did whenever it had a turn."""
    counts: dict[str, Counts] = {}
    turns: list[dict[str, Turn]] = []
    async with postgres() as url:
        for number in range(size.rounds):
            with tempfile.TemporaryDirectory(prefix="kit-bench-") as folder:
                ledgers: dict[str, Ledger] = {
                    SQLITE: SqliteLedger(Path(folder) / "ledger.db"),
                    MEMORY: MemoryLedger(),
                    POSTGRES: PostgresLedger(url),
                }
                async with _sites(ledgers) as sites:
                    for name, site in sites.items():  # the first workflow of a worker pays for imports and connections
                        counts[name] = await site.counts()
                        await site.turn(min(size.workflows, 20))
                    for turn in range(size.turns):
                        turns.append(await _turn(sites, size, number, turn))
    return counts, turns


async def _turn(sites: dict[str, Site], size: Size, number: int, turn: int) -> dict[str, Turn]:
    """Everybody one after the other, forwards and backwards in turns."""
    names = VARIANTS if turn == 0 else (HAND, SQLITE)
    forwards = (number + turn) % 2 == 0
    turns = {name: await sites[name].turn(size.workflows) for name in (names if forwards else reversed(names))}
    told = ", ".join(f"{name} {turns[name].rate:.1f}/s" for name in names)
    print(f"round {number + 1} of {size.rounds}, turn {turn + 1}: {told}", file=sys.stderr, flush=True)
    return turns


async def run(size: Size) -> tuple[Table, list[Target], dict[str, Any]]:
    """Measure and compare."""
    counts, turns = await measure(size)
    lines = [_line(name, counts[name], turns) for name in VARIANTS]
    table = Table(
        "Saga: 5 activities that do nothing (reserve beside authorize, create, capture, complete)",
        [
            f"{AT_ONCE} workflows at once; {size.rounds} rounds, each on a fresh server; in each the first two have "
            f"{size.turns} turns of {size.workflows} workflows, the others one.",
            "Median (least-most) of the turns; the ratio is taken in each turn, against hand-written beside it.",
            "cpu: processor time of the worker and the client, per workflow. Counts: of one run alone.",
        ],
        ["", "workflows/s", "ratio", "p50 ms", "p99 ms", "cpu ms", "events", "activities", "timers", "bytes"],
        lines,
    )
    ratio = _ratios(SQLITE, turns)
    targets = [
        Target(
            f"throughput, {SQLITE} / {HAND}",
            f">= {THROUGHPUT}",
            f"{ratio.median:.2f}",
            ratio.median >= THROUGHPUT,
        ),
        *(_equal(name, counts) for name in VARIANTS if name != HAND),
    ]
    data = {
        "size": asdict(size),
        "variants": {
            name: {
                "counts": asdict(counts[name]),
                "workflows_per_second": asdict(Spread.of([turn.rate for turn in _of(name, turns)])),
                "ratio": asdict(_ratios(name, turns)),
                "p50_ms": asdict(Spread.of([turn.percentile(50) for turn in _of(name, turns)])),
                "p99_ms": asdict(Spread.of([turn.percentile(99) for turn in _of(name, turns)])),
                "cpu_ms": asdict(Spread.of([turn.cpu_ms for turn in _of(name, turns)])),
            }
            for name in VARIANTS
        },
    }
    return table, targets, data


def _of(name: str, turns: Sequence[dict[str, Turn]]) -> list[Turn]:
    return [turn[name] for turn in turns if name in turn]


def _ratios(name: str, turns: Sequence[dict[str, Turn]]) -> Spread:
    return Spread.of([turn[name].rate / turn[HAND].rate for turn in turns if name in turn])


def _equal(name: str, counts: dict[str, Counts]) -> Target:
    wanted, found = counts[HAND].equal_parts, counts[name].equal_parts
    return Target(
        f"events, activities, timers, {name} = {HAND}",
        "/".join(map(str, wanted)),
        "/".join(map(str, found)),
        found == wanted,
        hard=True,
    )


def _line(name: str, counts: Counts, turns: Sequence[dict[str, Turn]]) -> list[str]:
    return [
        name,
        str(Spread.of([turn.rate for turn in _of(name, turns)])),
        str(_ratios(name, turns)),
        str(Spread.of([turn.percentile(50) for turn in _of(name, turns)])),
        str(Spread.of([turn.percentile(99) for turn in _of(name, turns)])),
        str(Spread.of([turn.cpu_ms for turn in _of(name, turns)])),
        str(counts.events),
        str(counts.activities),
        str(counts.timers),
        f"{counts.bytes:,}",
    ]
