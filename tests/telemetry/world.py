"""A saga that goes wrong when it is told to, so that everything the kit reports is reported."""

from __future__ import annotations

from datetime import timedelta

import structlog
from temporalio import workflow

from kit import (
    Breaker,
    Dependency,
    Effect,
    FailureKind,
    Model,
    NotStarted,
    Once,
    Operation,
    Refused,
    Retry,
    SagaWorkflow,
    Token,
    Undo,
)
from kit.telemetry import activity_log
from kit.worker import Connector


class Order(Model):
    order_id: str
    decline: bool = False
    flaky: int = 0


class Receipt(Model):
    receipt_id: str


SHOP = Dependency(
    name="shop",
    owner="shop-team",
    settle=timedelta(0),
    breaker=Breaker(failures=2, reset=timedelta(milliseconds=1)),
    retry={FailureKind.UNAVAILABLE: Retry(attempts=5, base=timedelta(milliseconds=1), cap=timedelta(milliseconds=1))},
)
reserve = Operation(
    "shop.reserve",
    Order,
    Receipt,
    dependency=SHOP,
    effect=Effect.REVERSIBLE,
    once=Once.by_state(),
    key="reserve:{order_id}",
    timeout=timedelta(seconds=5),
)
pay = Operation(
    "shop.pay",
    Order,
    Receipt,
    dependency=SHOP,
    effect=Effect.COMPENSATABLE,
    once=Once.by_state(),
    key="pay:{order_id}",
    timeout=timedelta(seconds=5),
    editable=("decline",),
)


class Shop(Connector):
    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.generous = False
        self._failed = 0

    @reserve.action
    async def reserve(self, request: Order, token: Token) -> Receipt:
        self.tokens.append(token)
        if self._failed < request.flaky:
            self._failed += 1
            raise NotStarted(FailureKind.UNAVAILABLE, "the shop is closed")
        structlog.stdlib.get_logger("connector").info("connector.reserved")
        return Receipt(receipt_id=token.key)

    @reserve.compensation
    async def release(self, undo: Undo[Order, Receipt], token: Token) -> None:
        self.tokens.append(token)

    @pay.action
    async def pay(self, request: Order, token: Token) -> Receipt:
        self.tokens.append(token)
        if request.decline and not self.generous:
            raise Refused(FailureKind.DECLINED, "no money", reason="card_declined")
        activity_log().info("connector.paid", receipt_id=token.key)
        return Receipt(receipt_id=token.key)

    @pay.compensation
    async def refund(self, undo: Undo[Order, Receipt], token: Token) -> None:
        self.tokens.append(token)


@workflow.defn
class Sale(SagaWorkflow, owner="shop-team"):
    @workflow.run
    async def run(self, order: Order) -> Receipt:
        await self.step(reserve, order)
        workflow.logger.info("a line of the service's own")
        return await self.pivot(pay, order)


@workflow.defn
class Gift(SagaWorkflow, owner="shop-team"):
    @workflow.run
    async def run(self, order: Order) -> None:
        self.after_commit(pay, order)
