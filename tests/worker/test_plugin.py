"""A plugin, or a worker, that could not keep effects safe is refused when it is built."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DataConverter, DefaultPayloadConverter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

from kit import DefinitionError, Dependency, Effect, Model, Once, Operation, SagaWorkflow, Token
from kit.ledger import MemoryLedger
from kit.worker import Connector, ReliabilityPlugin

server_tests = pytest.mark.asyncio(loop_scope="session")


class Ask(Model):
    id: str


def dependency(name: str = "shop") -> Dependency:
    """An external system."""
    return Dependency(name=name, owner="shop-team", settle=timedelta(0))


SHOP = dependency()


def buy(name: str = "shop.buy", *, key: str = "buy:{id}", shop: Dependency = SHOP) -> Operation[Ask, Ask]:
    """An operation of the shop."""
    return Operation(
        name,
        Ask,
        Ask,
        dependency=shop,
        effect=Effect.IRREVERSIBLE,
        once=Once.by_state(),
        key=key,
        timeout=timedelta(seconds=5),
    )


def serves(operation: Operation[Ask, Ask], name: str = "Shop") -> Connector:
    """A connector for one operation."""

    class Shop(Connector):
        @operation.action
        async def buy(self, request: Ask, token: Token) -> Ask:
            return request

    Shop.__name__ = name
    return Shop()


BUY = buy()


@workflow.defn
class Purchase(SagaWorkflow, owner="me"):
    @workflow.run
    async def run(self, ask: Ask) -> None:
        await self.pivot(BUY, ask)


@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class Pinned(SagaWorkflow, owner="me"):
    @workflow.run
    async def run(self, ask: Ask) -> None:
        await self.pivot(BUY, ask)


@workflow.defn
class Plain:
    @workflow.run
    async def run(self) -> str:
        return "as before"


def message(build: Callable[[], object]) -> str:
    """The words with which something is refused."""
    with pytest.raises(DefinitionError) as caught:
        build()
    return str(caught.value)


def plugin(*connectors: Connector, **options: Any) -> ReliabilityPlugin:
    """A plugin with a ledger in memory."""
    return ReliabilityPlugin(ledger=MemoryLedger(), connectors=connectors, **options)


def worker(server: WorkflowEnvironment, kit: ReliabilityPlugin, *workflows: type, **options: Any) -> Worker:
    """A worker with the plugin."""
    config = server.client.config()
    config["plugins"] = [kit]
    queue = f"plugin-{uuid.uuid4().hex}"
    return Worker(Client(**config), task_queue=queue, workflows=workflows, **{"build_id": "tests", **options})


# --- the plugin ---------------------------------------------------------------------------------------------------


def test_connectors_need_a_ledger() -> None:
    """Without a ledger nothing would know which effects have happened."""
    assert message(lambda: ReliabilityPlugin(connectors=[serves(BUY)])) == (
        "ReliabilityPlugin: connectors without a ledger: nothing would know which effects have happened. "
        "Fix: give ledger=SqliteLedger(path) or ledger=PostgresLedger(dsn)."
    )


def test_one_connector_for_each_operation() -> None:
    """Two connectors cannot serve one operation."""
    assert message(lambda: plugin(serves(BUY, "First"), serves(BUY, "Second"))) == (
        "ReliabilityPlugin: 'shop.buy' is served by both First and Second. Fix: give one connector for each operation."
    )


def test_one_key_template_for_each_operation() -> None:
    """Two operations with one key template would take each other's effects for their own."""
    assert message(lambda: plugin(serves(BUY), serves(buy("shop.rent")))) == (
        "ReliabilityPlugin: 'shop.buy' and 'shop.rent' share the key template 'buy:{id}', so the second effect would "
        "be refused as the first. Fix: begin each template with its verb, e.g. 'authorize:{order_id}'."
    )


def test_one_dependency_for_each_name() -> None:
    """Two dependencies of one name would share limits and metrics without saying so."""
    other = buy("shop.rent", key="rent:{id}", shop=dependency())

    assert message(lambda: plugin(serves(BUY), serves(other))) == (
        "ReliabilityPlugin: two dependencies are named 'shop'. "
        "Fix: import the one dependency everywhere, or rename one."
    )


def test_it_tells_what_it_serves() -> None:
    """The operations of its connectors, by name."""
    assert plugin(serves(BUY)).operations == {"shop.buy": BUY}
    assert ReliabilityPlugin().operations == {}


# --- the worker ---------------------------------------------------------------------------------------------------


@server_tests
async def test_every_operation_needs_a_connector(server: WorkflowEnvironment) -> None:
    """A saga whose operation nobody serves is refused with its worker."""
    rent = serves(buy("shop.rent", key="rent:{id}"))

    assert message(lambda: worker(server, plugin(rent), Purchase)) == (
        "saga 'Purchase': it uses 'shop.buy', which no connector of this worker serves (served: shop.rent). "
        "Fix: give the plugin the connector that serves it."
    )
    assert "(served: none)" in message(lambda: worker(server, plugin(), Purchase))


@server_tests
async def test_both_sides_use_one_contract(server: WorkflowEnvironment) -> None:
    """A saga and a connector with two contracts of one name are refused."""
    assert message(lambda: worker(server, plugin(serves(buy())), Purchase)) == (
        "saga 'Purchase': its 'shop.buy' is not the operation that Shop serves. "
        "Fix: import the one contract in both places."
    )


@server_tests
async def test_rows_outlive_every_replay(server: WorkflowEnvironment) -> None:
    """A ledger that forgets before a start may come again is refused."""
    short = plugin(serves(BUY), retention=timedelta(hours=12))

    assert message(lambda: worker(server, short, Purchase)) == (
        "saga 'Purchase': the ledger's retention of 12:00:00 is shorter than its deadline + replay window "
        "(1:00:00 + 12:00:00). Fix: raise retention=, or shorten deadline= or replay_window=."
    )


@server_tests
async def test_a_versioned_saga_needs_a_versioned_worker(server: WorkflowEnvironment) -> None:
    """A versioning behavior without a deployment version would be refused by the server at every task."""
    assert message(lambda: worker(server, plugin(serves(BUY)), Pinned)) == (
        "saga 'Pinned': it declares a versioning behavior, but this worker has no deployment version, so the server "
        "would refuse every workflow task. Fix: give the worker "
        "deployment_config=WorkerDeploymentConfig(..., use_worker_versioning=True), or drop versioning_behavior= from "
        "@workflow.defn."
    )
    version = WorkerDeploymentVersion(deployment_name="shop", build_id="1")
    config = WorkerDeploymentConfig(version=version, use_worker_versioning=True)
    worker(server, plugin(serves(BUY)), Pinned, build_id=None, deployment_config=config)


@server_tests
async def test_a_converter_without_pydantic_is_refused(server: WorkflowEnvironment) -> None:
    """A client's own converter must know pydantic models; one derived from pydantic's, or none, is taken as it is."""

    class Own(DefaultPayloadConverter): ...

    class Derived(PydanticPayloadConverter): ...

    def client(converter: DataConverter) -> Client:
        config = server.client.config()
        config["data_converter"], config["plugins"] = converter, [plugin(serves(BUY))]
        return Client(**config)

    assert message(lambda: client(DataConverter(payload_converter_class=Own))) == (
        "ReliabilityPlugin: the client's payload converter 'Own' does not know pydantic models. Fix: derive it from "
        "temporalio.contrib.pydantic.PydanticPayloadConverter (codecs are not affected)."
    )
    derived = DataConverter(payload_converter_class=Derived)
    assert client(derived).data_converter is derived
    plain = dataclasses.replace(DataConverter.default)
    assert issubclass(client(plain).data_converter.payload_converter_class, PydanticPayloadConverter)


@server_tests
async def test_other_workflows_and_runners_are_left_alone(server: WorkflowEnvironment) -> None:
    """Workflows that are no sagas are not checked, and an unsandboxed runner stays what it is."""
    built = worker(server, plugin(serves(BUY)), Plain, workflow_runner=UnsandboxedWorkflowRunner())

    assert isinstance(built.config()["workflow_runner"], UnsandboxedWorkflowRunner)


@server_tests
async def test_connectors_live_as_long_as_their_worker(server: WorkflowEnvironment) -> None:
    """The ledger and the connectors are opened before the first task and closed after the last."""
    story: list[str] = []

    class Ledger(MemoryLedger):
        async def open(self) -> None:
            story.append("ledger opened")

        async def close(self) -> None:
            story.append("ledger closed")

    class Shop(Connector):
        @BUY.action
        async def buy(self, request: Ask, token: Token) -> Ask:
            return request

        async def open(self) -> None:
            story.append("connector opened")

        async def close(self) -> None:
            story.append("connector closed")

    async with worker(server, ReliabilityPlugin(ledger=Ledger(), connectors=[Shop()], tracing=True), Purchase):
        pass

    assert story == ["ledger opened", "connector opened", "connector closed", "ledger closed"]
