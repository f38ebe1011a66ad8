"""What the simulation does not model raises `UnsupportedScenario`, whatever the code under test makes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import nexusrpc
import pytest
from temporalio import activity, workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.converter import DataConverter, PayloadCodec

from kit.errors import UnsupportedScenario
from kit.testing.engines.simulation import SimulatedServer, run_virtually

SECOND = timedelta(seconds=1)


@nexusrpc.service
class Elsewhere:
    """A Nexus service."""

    ask: nexusrpc.Operation[str, str]


@activity.defn
async def nothing() -> None:
    """Does nothing."""


@activity.defn
async def completed_elsewhere() -> None:
    """Is completed by somebody else."""
    activity.raise_complete_async()


@activity.defn
async def in_a_thread() -> None:
    """Leaves virtual time, and hides that it may not."""
    with contextlib.suppress(UnsupportedScenario):
        await asyncio.to_thread(len, "")


@activity.defn
async def over_a_socket() -> None:
    """Leaves the process."""
    await asyncio.open_connection("127.0.0.1", 9)


@activity.defn
async def in_a_process() -> None:
    """Leaves the process."""
    await asyncio.create_subprocess_exec("true")


@activity.defn
async def by_a_client() -> None:
    """Asks the server."""
    await activity.client().count_workflows()


@activity.defn(dynamic=True)
async def anything(arguments: Sequence[RawValue]) -> None:
    """Takes every name."""


@workflow.defn
class Asks:
    """Asks for one thing that is not modelled, and goes on whatever comes of it."""

    @workflow.run
    async def run(self, what: str) -> str:
        """Ask."""
        try:
            await getattr(self, what)()
        except Exception as error:
            return f"went on in spite of {error!r}"
        return "done"

    async def local(self) -> None:
        """Runs inside a workflow task."""
        await workflow.execute_local_activity(nothing, start_to_close_timeout=SECOND)

    async def nexus(self) -> None:
        """Goes to another namespace."""
        client = workflow.create_nexus_client(service=Elsewhere, endpoint="there")
        await client.execute_operation(Elsewhere.ask, "what")

    async def cron(self) -> None:
        """Runs again and again."""
        await workflow.start_child_workflow(Asks.run, "nothing", cron_schedule="* * * * *")

    async def retried(self) -> None:
        """Runs again when it fails."""
        await workflow.execute_child_workflow(Asks.run, "nothing", retry_policy=RetryPolicy())

    async def versioned(self) -> None:
        """Chooses a worker by its version."""
        await workflow.execute_activity(
            nothing, start_to_close_timeout=SECOND, versioning_intent=workflow.VersioningIntent.DEFAULT
        )

    async def again(self) -> None:
        """The next run runs again when it fails."""
        workflow.continue_as_new("nothing", retry_policy=RetryPolicy())

    async def do(self, fn: Callable[..., Any]) -> None:
        """An activity that does what it must not."""
        await workflow.execute_activity(fn, start_to_close_timeout=SECOND, retry_policy=RetryPolicy(maximum_attempts=1))

    async def elsewhere(self) -> None:
        """See `completed_elsewhere`."""
        await self.do(completed_elsewhere)

    async def thread(self) -> None:
        """See `in_a_thread`."""
        await self.do(in_a_thread)

    async def socket(self) -> None:
        """See `over_a_socket`."""
        await self.do(over_a_socket)

    async def process(self) -> None:
        """See `in_a_process`."""
        await self.do(in_a_process)

    async def client(self) -> None:
        """See `by_a_client`."""
        await self.do(by_a_client)


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("local", "local activity 'nothing'"),
        ("nexus", "Nexus operation .*'ask'"),
        ("cron", "'cron_schedule' of start child workflow execution 'Asks'"),
        ("retried", "'retry_policy' of start child workflow execution 'Asks'"),
        ("versioned", "'versioning_intent' of schedule activity 'nothing'"),
        ("again", "'retry_policy' of continue as new workflow execution"),
        ("elsewhere", "'completed_elsewhere', completed from elsewhere"),
        ("thread", "in a thread"),
        ("socket", "a connection to"),
        ("process", "a process"),
        ("client", r"activity\.client\(\)\.count_workflows"),
    ],
)
def test_what_is_not_modelled_is_refused(what: str, named: str) -> None:
    """It ends the simulation, although the workflow catches every exception, and says what it was and what to do."""
    with pytest.raises(UnsupportedScenario, match=rf"{named}.* is not simulated\. Fix: "):
        run_virtually(_asking(what))


async def _asking(what: str) -> str:
    activities = [nothing, completed_elsewhere, in_a_thread, over_a_socket, in_a_process, by_a_client]
    server = SimulatedServer(workflows=[Asks], activities=activities)
    return str(await server.start(Asks, what, id="asks").result())


def test_a_dynamic_activity_is_refused() -> None:
    """A worker that would take every name is refused when it is built."""

    async def main() -> None:
        SimulatedServer(workflows=[Asks], activities=[anything])

    with pytest.raises(UnsupportedScenario, match="a dynamic activity is not simulated"):
        run_virtually(main())


def test_a_codec_is_refused() -> None:
    """Nothing leaves the process, so nothing would be encoded."""

    class Codec(PayloadCodec):
        async def encode(self, payloads: Sequence[Any]) -> list[Any]:
            return list(payloads)

        async def decode(self, payloads: Sequence[Any]) -> list[Any]:
            return list(payloads)

    async def main() -> None:
        SimulatedServer(workflows=[Asks], data_converter=DataConverter(payload_codec=Codec()))

    with pytest.raises(UnsupportedScenario, match="a payload codec is not simulated"):
        run_virtually(main())


def test_an_error_in_the_simulation_is_no_workflow_that_waits() -> None:
    """What a callback raises ends the simulation; a loop would only note it, and the run would look stuck."""

    async def main() -> None:
        asyncio.get_running_loop().call_later(5, _broken)
        await asyncio.sleep(10)

    with pytest.raises(ZeroDivisionError):
        run_virtually(main())


def _broken() -> None:
    _ = 1 / 0
