"""The kit's pytest plugin: fixtures for sweeps, worlds and a real server, and how deep to sweep.

It is a module of its own because pytest imports every plugin at its start. Importing any module of `kit` would cost
every test session a second and hide the kit's import from coverage; this one imports nothing of it before it is used.

==============  =========  ===========================================================================================
fixture         scope      what it is
==============  =========  ===========================================================================================
``kit_sweep``   function   `kit.testing.sweep`, with the command line's options; ``await kit_sweep(CHECKOUT)``
``kit_world``   function   opens a world without a workflow; ``async with kit_world(CheckoutWorld) as world:``
``kit_server``  session    a real Temporal server that skips time, started when it is first asked for
==============  =========  ===========================================================================================

=======================  =============================================================================================
option                   what it does
=======================  =============================================================================================
``--kit-sweep-depth``    the most faults of one scenario, instead of what the tests say
``--kit-sweep-engine``   ``simulation`` or ``server``, instead of what the tests say
``--kit-sweep-seed``     the seed, instead of what the tests say
``--kit-sweep-workers``  how many processes, instead of what the tests say
=======================  =============================================================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from temporalio.client import Client
    from temporalio.testing import WorkflowEnvironment

    from kit.testing import Scenario, Verdict, Wire, World

_VERDICTS: Final = pytest.StashKey[list[tuple[str, "Verdict"]]]()

_OPTIONS: Final = ("depth", "engine", "seed", "workers")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("kit", "workflow reliability kit")
    group.addoption("--kit-sweep-depth", type=int, metavar="N", help="the most faults of one scenario")
    group.addoption("--kit-sweep-engine", choices=("simulation", "server"), help="what runs the scenarios")
    group.addoption("--kit-sweep-seed", type=int, metavar="N", help="decides what the real world leaves open")
    group.addoption("--kit-sweep-workers", type=int, metavar="N", help="how many processes sweep")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what was swept, and within which bound."""
    verdicts = config.stash.get(_VERDICTS, [])
    if verdicts:
        terminalreporter.section("sweeps")
        for test, verdict in verdicts:
            terminalreporter.write_line(f"{test}: {verdict}")


@pytest.fixture
def kit_sweep(request: pytest.FixtureRequest) -> Callable[..., Awaitable[Verdict]]:
    """`kit.testing.sweep`. What the command line says goes before what the test says."""
    from kit.testing import sweep  # noqa: PLC0415 - see the module

    given = {name: request.config.getoption(f"--kit-sweep-{name}") for name in _OPTIONS}
    chosen = {name: value for name, value in given.items() if value is not None}

    async def bound(subject: Any, argument: Any = None, **options: Any) -> Verdict:
        verdict = await sweep(subject, argument, **{**options, **chosen})
        request.config.stash.setdefault(_VERDICTS, []).append((request.node.nodeid, verdict))
        return verdict

    return bound


@pytest.fixture
def kit_world() -> Callable[..., AbstractAsyncContextManager[World]]:
    """Opens a world without a workflow, to test the world itself: its connectors, its truth.

    ``kit_world(build, scenario)``: what builds it, and what goes wrong on its wire (nothing, if left out).
    """
    from kit.testing.alone import opened  # noqa: PLC0415 - see the module

    def opening(
        build: Callable[[Wire], World], scenario: Scenario | str = "clean"
    ) -> AbstractAsyncContextManager[World]:
        return opened(build, scenario)

    return opening


@dataclass(frozen=True, slots=True)
class KitServer:
    """A real server that skips time.

    Attributes:
        address: Where it listens.
        namespace: Its namespace.
    """

    address: str
    namespace: str

    async def connect(self, **options: Any) -> Client:
        """A client; options are those of `temporalio.client.Client.connect`, such as ``plugins``."""
        from temporalio.client import Client  # noqa: PLC0415 - see the module

        return await Client.connect(self.address, namespace=self.namespace, **options)


@pytest.fixture(scope="session")
def kit_server() -> Iterator[KitServer]:
    """A real Temporal server that skips time; one for the session, so that tests use task queues of their own."""
    from kit.testing import start_time_skipping  # noqa: PLC0415 - see the module

    # A loop of its own: the server outlives the loops of the tests.
    with asyncio.Runner() as runner:
        environment: WorkflowEnvironment = runner.run(start_time_skipping())
        try:
            client = environment.client
            yield KitServer(client.service_client.config.target_host, client.namespace)
        finally:
            runner.run(environment.shutdown())
