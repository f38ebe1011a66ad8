"""Two customers cancel their subscriptions: a timeout hides one cancellation, and the provider refuses the other.

What came of each is read from the records of billing, entitlements and the mail server, as with the orders; the
service's own database is looked at beside them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from temporalio.client import WorkflowFailureError

from activities.entitlements.contract import Plan
from activities.subscriptions.tables import add_subscription, cancellation_number, subscription_status
from kit.operate import start_once
from kit.testing.sandbox import EffectKind, FaultKind, Operation
from temporal.demo.stage import Stage
from workflows.subscription_cancel import CancelRequest, SubscriptionCancel

PAID: Final = 1900
"""What the customers have paid today for the time to come, in minor units: all of it is refunded."""


@dataclass(frozen=True, slots=True)
class Story:
    """One customer who cancels.

    Attributes:
        name: The subscription's id without prefix and suffix.
        title: What happens, in a few words.
        fault: What the provider does to the cancellation.
        ends: Whether the subscription must end.
    """

    name: str
    title: str
    fault: FaultKind
    ends: bool


STORIES: Final = (
    Story("timeout", "The provider cancels, and its reply is lost", FaultKind.DROP_REPLY, ends=True),
    Story("refused", "The provider refuses to cancel", FaultKind.REFUSE, ends=False),
)


@dataclass(frozen=True, slots=True)
class Stands:
    """What the systems say of one subscription.

    Attributes:
        asked: How often the provider was asked to cancel it.
        canceled: How often it was.
        refunded: What was given back, in minor units, one by one.
        plan: What the account may use.
        told: How many e-mails left.
        here: How it stands in the service's own database.
    """

    asked: int
    canceled: int
    refunded: tuple[int, ...]
    plan: str
    told: int
    here: str


ENDED: Final = Stands(asked=1, canceled=1, refunded=(PAID,), plan=Plan.NONE, told=1, here="canceled")
STAYS: Final = Stands(asked=1, canceled=0, refunded=(), plan=Plan.STARTER, told=0, here="active")


@dataclass(slots=True)
class Cancellations:
    """What came of all of them.

    Attributes:
        stands: What the systems say of each, by its story.
        completed: The stories whose run completed.
    """

    stands: dict[str, Stands] = field(default_factory=dict)
    completed: set[str] = field(default_factory=set)

    @property
    def lines(self) -> list[tuple[bool, str]]:
        """What the records say, each with whether it is well."""
        return [
            (self._is_well("timeout"), f"a lost reply hid a cancellation: {self._told('timeout')}"),
            (self._is_well("refused"), f"the provider refused a cancellation: {self._told('refused')}"),
        ]

    @property
    def document(self) -> list[dict[str, Any]]:
        """The same for machines."""
        return [
            {
                "story": story.name,
                "title": story.title,
                "completed": story.name in self.completed,
                "ok": self._is_well(story.name),
                "asked": stands.asked,
                "canceled": stands.canceled,
                "refunded": list(stands.refunded),
                "plan": stands.plan,
                "told": stands.told,
                "here": stands.here,
            }
            for story in STORIES
            if (stands := self.stands.get(story.name)) is not None
        ]

    def _is_well(self, name: str) -> bool:
        ends = next(story.ends for story in STORIES if story.name == name)
        return self.stands.get(name) == (ENDED if ends else STAYS) and (name in self.completed) is ends

    def _told(self, name: str) -> str:
        stands = self.stands.get(name)
        if stands is None:
            return "it did not end"
        refunds = " + ".join(f"{amount / 100:.2f}" for amount in stands.refunded) or "nothing"
        return (
            f"{_count(stands.asked, 'request')}, {_count(stands.canceled, 'cancellation')}, {refunds} refunded, "
            f"plan {stands.plan}, {_count(stands.told, 'e-mail')}, {stands.here} in the shop"
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


async def play(stage: Stage, found: Cancellations) -> None:
    """Play all of them at once; what came of each is in ``found`` as soon as it is known."""
    await asyncio.gather(*(_play(stage, story, found) for story in STORIES))


async def _play(stage: Stage, story: Story, found: Cancellations) -> None:
    subscription = f"sub-{story.name}{stage.suffix}"
    account = f"account-{story.name}{stage.suffix}"
    await add_subscription(stage.shop, subscription, account_id=account, email=f"{story.name}@customer.example")
    stage.sandbox.app.entitlements.add(account, plan=Plan.STARTER)
    await stage.sandbox.control.subscribe(subscription, account_id=account)
    await stage.sandbox.control.fault(Operation.CANCEL_SUBSCRIPTION, story.fault, match=subscription)
    number = await cancellation_number(stage.shop, subscription)
    request = CancelRequest(subscription_id=subscription, number=number)
    started = await start_once(
        stage.client,
        SubscriptionCancel.run,
        request,
        id=request.workflow_id,
        task_queue=stage.settings.task_queue,
    )
    try:
        await started.handle.result()
    except WorkflowFailureError:
        pass  # what that means is looked for in the records
    else:
        found.completed.add(story.name)
    found.stands[story.name] = await _look(stage, subscription, account, request)


async def _look(stage: Stage, subscription: str, account: str, request: CancelRequest) -> Stands:
    effects, calls = await stage.sandbox.control.effects(), await stage.sandbox.control.calls()
    ours = [effect for effect in effects if effect.reference in (subscription, request.workflow_id)]
    asked = [call for call in calls if call.operation is Operation.CANCEL_SUBSCRIPTION]
    return Stands(
        asked=sum(call.reference == subscription for call in asked),
        canceled=sum(effect.kind is EffectKind.CANCELED for effect in ours),
        refunded=tuple(effect.amount or 0 for effect in ours if effect.kind is EffectKind.REFUNDED),
        plan=stage.sandbox.app.entitlements.plan(account),
        told=sum(effect.kind is EffectKind.SENT for effect in ours),
        here=str(await subscription_status(stage.shop, subscription)),
    )
