"""For each rule, code that breaks it and code that does the same job well."""

from __future__ import annotations

from typing import Final

CONTRACT: Final = """
from datetime import timedelta
from kit.contract import Dependency, Effect, FailureKind, Model, Once, Operation, Retry, UNLIMITED

SHOP = Dependency(name="shop", owner="shop-team", settle=timedelta(0), retry={
    FailureKind.UNAVAILABLE: Retry(attempts=UNLIMITED)})

class Sell(Model):
    order_id: str
    note: str = ""

class Sold(Model):
    number: str

sell = Operation("shop.sell", Sell, Sold, dependency=SHOP, effect=Effect.COMPENSATABLE,
    once=Once.by_probe(), key="sell:{order_id}", timeout=timedelta(seconds=1))
wrap = Operation("shop.wrap", Sell, Sold, dependency=SHOP, effect=Effect.REVERSIBLE,
    once=Once.by_state(), key="wrap:{order_id}", timeout=timedelta(seconds=1))
mail = Operation("shop.mail", Sell, Sold, dependency=SHOP, effect=Effect.IRREVERSIBLE,
    once=Once.never_twice(), key="mail:{order_id}", timeout=timedelta(seconds=1))
"""
"""The module `shop`, which the snippets import."""

WORKFLOW: Final = """
import asyncio
import contextlib
import random
import time
import uuid
from datetime import datetime, timedelta
import httpx
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception
import shop
from kit import SagaWorkflow
from kit.worker import Connector

class Shop(Connector):
    @shop.sell.action
    async def sell(self, request, token):
        return await self._http.post("/")

@workflow.defn
class Selling(SagaWorkflow, owner="shop-team"):
    @workflow.run
    async def run(self, order: shop.Sell) -> shop.Sold:
        request = order
"""
"""The head of a saga; its body follows, indented by eight."""

CONNECTOR: Final = """
import asyncio
import contextlib
import json
import logging
import time
import uuid
from datetime import UTC, datetime
from typing import NoReturn
import httpx
import stamina
from kit.contract import FailureKind
from kit.errors import NotStarted, Refused
from kit.worker import Connector
import shop
from shop import Sold

log = logging.getLogger(__name__)

class NotFoundError(Exception): ...

def _nothing_sent(error) -> NoReturn:
    raise NotStarted(FailureKind.UNAVAILABLE, "not sent") from error

class Shop(Connector):
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
"""
"""The head of a connector; its methods follow, indented by four."""

START: Final = """
from datetime import timedelta
from kit import SagaWorkflow
from temporalio import workflow

@workflow.defn
class Selling(SagaWorkflow, owner="shop-team"):
    @workflow.run
    async def run(self, order: str) -> None: ...

@workflow.defn
class Plain:
    @workflow.run
    async def run(self, order: str) -> None: ...

async def start(client):
"""
"""The head of a client; its body follows, indented by four."""

PAIRS: Final[dict[str, list[tuple[str, str, str]]]] = {
    # code: (head, what breaks the rule, what keeps it)
    "KIT000": [
        (WORKFLOW, "        # kit: ignore", "        # kit: what follows is a step"),
        (WORKFLOW, "        pass  # kit: ignore[KIT999] who knows", "        pass"),
        (WORKFLOW, "        pass  # kit: ignore[KIT003] left over", "        pass"),
    ],
    "KIT001": [
        (
            WORKFLOW,
            "        await workflow.execute_activity(shop.sell.name, request, schedule_to_close_timeout=TEN)",
            "        await self.step(shop.sell, request)",
        ),
        (
            WORKFLOW,
            "        await workflow.execute_activity_method(Shop.sell, request, schedule_to_close_timeout=TEN)",
            "        await workflow.execute_activity('count_visitors', request, schedule_to_close_timeout=TEN)",
        ),
        (
            WORKFLOW,
            "        name = shop.sell.name\n"
            "        await workflow.execute_activity(name, request, schedule_to_close_timeout=TEN)",
            "        name = 'count_visitors'\n"
            "        await workflow.execute_activity(name, request, schedule_to_close_timeout=TEN)",
        ),
        (
            WORKFLOW,
            "        await workflow.start_activity('shop.sell', request, schedule_to_close_timeout=TEN)",
            "        await workflow.sleep(10)",
        ),
    ],
    "KIT002": [
        (
            WORKFLOW,
            "        async with httpx.AsyncClient() as client: pass",
            "        assert httpx.codes.OK == 200",
        ),
        (WORKFLOW, "        open('prices.csv')", "        self.open('prices.csv')"),
        (
            WORKFLOW,
            "        _load()\n\ndef _load():\n    httpx.get('/')",
            "        pass\n\ndef load():\n    httpx.get('/')",
        ),
    ],
    "KIT003": [
        (WORKFLOW, "        day = datetime.now()", "        day = workflow.now()"),
        (WORKFLOW, "        random.choice([1, 2])", "        workflow.random().choice([1, 2])"),
        (WORKFLOW, "        str(uuid.uuid4())", "        str(workflow.uuid4())"),
        (WORKFLOW, "        time.time()", "        workflow.time()"),
    ],
    "KIT004": [
        (
            WORKFLOW,
            """
        try:
            await self.step(shop.sell, request)
        except Exception:
            workflow.logger.warning("no luck")
""",
            """
        try:
            await self.step(shop.sell, request)
        except ActivityError:
            await self.step(shop.wrap, request)
""",
        ),
        (
            WORKFLOW,
            """
        try:
            await self.step(shop.sell, request)
        except BaseException as error:
            if is_cancelled_exception(error):
                raise
""",
            """
        try:
            await self.step(shop.sell, request)
        except Exception as error:
            if is_cancelled_exception(error):
                raise
            await self.step(shop.wrap, request)
""",
        ),
        (
            WORKFLOW,
            """
        try:
            await self._sell(request)
        except:
            pass

    async def _sell(self, request):
        await self.step(shop.sell, request)
""",
            """
        try:
            await self._price(request)
        except Exception:
            pass

    async def _price(self, request):
        await workflow.sleep(1)
""",
        ),
        (
            WORKFLOW,
            """
        with contextlib.suppress(asyncio.CancelledError):
            await self.pivot(shop.sell, request)
""",
            """
        with contextlib.suppress(ValueError):
            await self.pivot(shop.sell, request)
""",
        ),
        (
            WORKFLOW,
            """
        try:
            await self.step(shop.sell, request)
        finally:
            return None
""",
            """
        try:
            await self.step(shop.sell, request)
        finally:
            workflow.logger.info("sold or not")
""",
        ),
    ],
    "KIT005": [
        (
            WORKFLOW,
            "        await self.step(shop.mail, request)\n        await self.pivot(shop.sell, request)",
            "        self.after_commit(shop.mail, request)\n        await self.pivot(shop.sell, request)",
        ),
        (
            WORKFLOW,
            "        await self.parallel((shop.sell, request), (shop.mail, request))",
            "        await self.pivot(shop.sell, request)\n        await self.step(shop.mail, request)",
        ),
        (
            WORKFLOW,
            """
        await self._tell(request)
        await self._sell(request)

    async def _sell(self, request):
        await self.pivot(shop.sell, request)

    async def _tell(self, request):
        await self.step(shop.mail, request)
""",
            """
        await self._sell(request)
        await self._tell(request)

    async def _tell(self, request):
        await self.step(shop.mail, request)

    async def _sell(self, request):
        await self.pivot(shop.sell, request)
""",
        ),
    ],
    "KIT006": [
        (
            WORKFLOW,
            "        await asyncio.gather(self.step(shop.sell, request), self.step(shop.wrap, request))",
            "        await self.parallel((shop.sell, request), (shop.wrap, request))",
        ),
        (
            WORKFLOW,
            "        await asyncio.gather(*[self.step(shop.sell, one) for one in request])",
            "        await asyncio.gather(workflow.sleep(1), workflow.sleep(2))",
        ),
    ],
    "KIT007": [
        (
            WORKFLOW,
            "        await asyncio.shield(self.task)",
            "        while not self.task.done():\n            await asyncio.shield(self.task)",
        ),
    ],
    "KIT008": [
        (
            WORKFLOW,
            "        await workflow.execute_activity('count', start_to_close_timeout=timedelta(seconds=5))",
            "        await workflow.execute_activity('count', schedule_to_close_timeout=timedelta(seconds=5))",
        ),
        (
            WORKFLOW,
            "        await workflow.execute_activity('count', retry_policy=RetryPolicy(backoff_coefficient=2))",
            "        await workflow.execute_activity('count', retry_policy=RetryPolicy(maximum_attempts=5))",
        ),
        (
            WORKFLOW,
            "        await workflow.execute_activity('count', retry_policy=RetryPolicy(maximum_attempts=0))",
            "        policy = RetryPolicy(non_retryable_error_types=['No'])\n"
            "        await workflow.execute_activity('count', retry_policy=policy)",
        ),
        (
            WORKFLOW,
            "        await workflow.execute_activity('count', retry_policy=MANY)\n\nMANY = RetryPolicy()",
            "        await workflow.execute_activity('count', retry_policy=FEW)\n\n"
            "FEW = RetryPolicy(maximum_attempts=3)",
        ),
    ],
    "KIT009": [
        (
            START,
            "    await client.start_workflow(Selling.run, 'x', id='x', run_timeout=timedelta(hours=1))",
            "    await client.start_workflow(Selling.run, 'x', id='x', task_timeout=timedelta(seconds=10))",
        ),
        (
            START,
            "    await client.execute_workflow('Selling', 'x', id='x', execution_timeout=timedelta(hours=1))",
            "    await client.execute_workflow(Plain.run, 'x', id='x', execution_timeout=timedelta(hours=1))",
        ),
    ],
    "KIT010": [
        (WORKFLOW, "        self.step(shop.sell, request)", "        await self.step(shop.sell, request)"),
    ],
    "KIT101": [
        (
            CONTRACT,
            'other = Operation("shop.other", Sell, Sold, dependency=SHOP, effect=Effect.REVERSIBLE, key="{attempt}")',
            'other = Operation("shop.other", Sell, Sold, dependency=SHOP, effect=Effect.READ, key="o:{order_id}")',
        ),
        (
            "import uuid\n" + CONTRACT,
            'other = Operation("a.b", Sell, Sold, dependency=SHOP, effect=Effect.REVERSIBLE, key=f"o:{uuid.uuid4()}")',
            'other = Operation("a.b", Sell, Sold, dependency=SHOP, effect=Effect.REVERSIBLE, key="o:{workflow_id}")',
        ),
    ],
    "KIT102": [
        (
            WORKFLOW,
            "        await self.step(shop.sell, shop.Sell(order_id=str(workflow.uuid4())))",
            "        await self.step(shop.sell, shop.Sell(order_id=order.order_id, note=str(workflow.uuid4())))",
        ),
        (
            WORKFLOW,
            "        number = workflow.info().run_id\n"
            "        await self.parallel((shop.sell, shop.Sell(order_id=number)), (shop.wrap, order))",
            "        number = workflow.info().workflow_id\n"
            "        await self.parallel((shop.sell, shop.Sell(order_id=number)), (shop.wrap, order))",
        ),
    ],
    "KIT103": [
        (
            CONTRACT,
            'TILL = Dependency(name="till", owner="t", settle=timedelta(0),\n'
            "    retry={FailureKind.DECLINED: Retry(attempts=UNLIMITED)})",
            'TILL = Dependency(name="till", owner="t", settle=timedelta(0),\n'
            "    retry={FailureKind.DECLINED: Retry(attempts=2)})",
        ),
    ],
    "KIT201": [
        (
            CONNECTOR,
            """
    @shop.sell.probe
    async def find(self, request, token):
        try:
            reply = await self._http.get("/", params={"reference": token.key})
        except httpx.HTTPError:
            return None
        return Sold(number=reply.text)
""",
            """
    @shop.sell.probe
    async def find(self, request, token):
        try:
            reply = await self._http.get("/", params={"reference": token.key})
        except httpx.HTTPStatusError as error:
            if error.response.status_code != 404:
                raise
            return None
        return Sold(number=reply.text)
""",
        ),
        (
            CONNECTOR,
            """
    @shop.sell.compensation
    async def undo(self, undo, token):
        try:
            await self._http.post("/refunds")
        except Exception:
            log.warning("no refund")
""",
            """
    @shop.sell.compensation
    async def undo(self, undo, token):
        try:
            await self._http.post("/refunds")
        except NotFoundError:
            log.warning("no refund")
""",
        ),
        (
            CONNECTOR,
            """
    @shop.sell.action
    async def sell(self, request, token):
        with contextlib.suppress(httpx.HTTPError):
            await self._http.post("/sales")
        return Sold(number="1")
""",
            """
    @shop.sell.action
    async def sell(self, request, token):
        try:
            await self._http.post("/sales")
        except httpx.ConnectError as error:
            _nothing_sent(error)
        with contextlib.suppress(httpx.HTTPError):
            await self._http.aclose()
        return Sold(number="1")
""",
        ),
    ],
    "KIT202": [
        (
            CONNECTOR,
            """
    @shop.sell.action
    async def sell(self, request, token):
        for attempt in range(3):
            try:
                return await self._http.post("/sales")
            except httpx.HTTPError:
                await asyncio.sleep(1)
""",
            """
    @shop.sell.action
    async def sell(self, request, token):
        page = await self._http.get("/sales")
        while page.json()["more"]:
            page = await self._http.get("/sales")
        return page
""",
        ),
        (
            CONNECTOR,
            """
    @stamina.retry(on=httpx.HTTPError)
    async def _send(self):
        await self._http.post("/sales")
""",
            """
    async def _send(self):
        await self._http.post("/sales")
""",
        ),
        (
            CONNECTOR,
            "\ntransport = httpx.AsyncHTTPTransport(retries=3)\n",
            "\ntransport = httpx.AsyncHTTPTransport(retries=0)\n",
        ),
    ],
    "KIT203": [
        (
            CONNECTOR,
            """
    @shop.sell.action
    async def sell(self, request, token):
        return await self._http.post("/", headers={"Idempotency-Key": str(uuid.uuid4())})
""",
            """
    @shop.sell.action
    async def sell(self, request, token):
        return await self._http.post("/", headers={"Idempotency-Key": token.key, "Date": str(datetime.now(UTC))})
""",
        ),
        (
            CONNECTOR,
            """
    @shop.sell.action
    async def sell(self, request, token):
        name = f"{token.key}-{token.attempt}"
        return await self._http.post("/", headers={"X-Name": name})
""",
            """
    @shop.sell.action
    async def sell(self, request, token):
        log.info("attempt %s", token.attempt)
        return await self._http.post("/", headers={"X-Name": f"{token.key}-sale"})
""",
        ),
        (
            CONNECTOR,
            """
    @shop.sell.action
    async def sell(self, request, token):
        sent = time.time()
        return await self._http.post("/", json={"reference": f"{request.order_id}:{sent}"})
""",
            """
    @shop.sell.action
    async def sell(self, request, token):
        sent = time.time()
        return await self._http.post("/", json={"reference": token.key, "sent": sent})
""",
        ),
    ],
    "KIT204": [
        (
            CONNECTOR,
            """
    @shop.sell.compensation
    async def undo(self, undo, token):
        reply = await self._http.delete(f"/sales/{undo.result.number}")
        reply.raise_for_status()
""",
            """
    @shop.sell.compensation
    async def undo(self, undo, token):
        reply = await self._http.delete(f"/sales/{undo.result.number}")
        if reply.status_code != httpx.codes.NOT_FOUND:
            reply.raise_for_status()
""",
        ),
        (
            CONNECTOR,
            """
    @shop.sell.compensation
    async def undo(self, undo, token):
        if await self._sale(undo.result.number) is None:
            raise Refused(FailureKind.NOT_FOUND, "no such sale")
""",
            """
    @shop.sell.compensation
    async def undo(self, undo, token):
        if await self._sale(undo.result.number) is None:
            return
""",
        ),
    ],
    "KIT205": [
        (
            CONNECTOR,
            """
    @shop.sell.probe
    async def find(self, request, token):
        return None
""",
            """
    @shop.sell.probe
    async def find(self, request, token):
        return await self._found(token.key)
""",
        ),
        (
            CONNECTOR,
            """
    @shop.sell.probe
    async def find(self, request, token):
        await self._http.get("/sales")
        return None
""",
            """
    @shop.sell.probe
    async def find(self, request, token):
        return self._known.get(token.key)
""",
        ),
    ],
    "KIT206": [
        (
            CONNECTOR,
            """
    @shop.wrap.action
    async def wrap(self, request, token, tx):
        await self._http.post("/boxes")
        await tx.execute("insert")
""",
            """
    @shop.wrap.action
    async def wrap(self, request, token, tx):
        await self._check(tx)
        await tx.execute("insert")
""",
        ),
    ],
}
"""For each rule at least one pair."""
