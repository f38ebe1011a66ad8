"""What the providers saw of an order, in their own records, and whether that is what had to come of it.

Whether money was taken twice is decided from the records alone. How the order ended is known from its caller; what
that ending promises is then looked for in the records. The state of the shop's own database is looked at beside them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from activities.orders.contract import CartStatus, OrderStatus
from kit.testing.sandbox import (
    CallNote,
    CallRecord,
    EffectKind,
    EffectRecord,
    FaultKind,
    Operation,
    Provider,
    violations,
)
from temporal.demo.stories import AMOUNT, Ended, Ending, Story

LOOK_UPS: Final = frozenset(
    {
        Operation.FIND,
        Operation.LOOKUP,
        Operation.READ_COMPANY,
        Operation.READ_SUBSCRIPTION,
        Operation.READ_ENTITLEMENT,
        Operation.READ_TICKET,
        Operation.SEARCH_TICKETS,
    }
)
"""Calls that change nothing."""

_SUCCESS: Final = {
    Operation.AUTHORIZE: "authorized",
    Operation.CAPTURE: "captured",
    Operation.CANCEL: "voided",
    Operation.REFUND: "refunded",
    Operation.RESERVE: "reserved",
    Operation.RELEASE: "released",
    Operation.DELIVER: "accepted",
    Operation.SEND: "sent",
    Operation.WRITE_COMPANY: "written",
    Operation.CHANGE_SUBSCRIPTION: "plan changed",
    Operation.OPEN_TICKET: "opened",
    Operation.CHANGE_ENTITLEMENT: "plan changed",
    Operation.ENRICH: "asked",
}

_COMPLETE: Final = {
    EffectKind.CAPTURED: "charge",
    EffectKind.RESERVED: "reservation",
    EffectKind.DELIVERED: "shipment request",
    EffectKind.SENT: "receipt",
}
"""What a completed order has, once each, and what it is called."""


@dataclass(frozen=True, slots=True)
class Shop:
    """One order in the service's own database."""

    order: OrderStatus | None
    cart: CartStatus | None

    def __str__(self) -> str:
        return f"order {self.order or 'none'}, cart {self.cart or 'none'}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What the providers recorded of one order."""

    effects: tuple[EffectRecord, ...] = ()
    calls: tuple[CallRecord, ...] = ()

    @classmethod
    def of(cls, order_id: str, effects: Iterable[EffectRecord], calls: Iterable[CallRecord]) -> Seen:
        """The records that are about one order, by the reference the providers were given."""
        return cls(
            tuple(effect for effect in effects if _is_about(effect.reference, order_id)),
            tuple(call for call in calls if _is_about(call.reference, order_id)),
        )

    def cell(self, provider: Provider) -> str:
        """What one provider saw, call by call, in words."""
        calls = (call for call in self.calls if call.provider is provider and call.operation not in LOOK_UPS)
        words = [(word, len(list(same))) for word, same in groupby(_word(call) for call in calls)]
        return ", ".join(word if number == 1 else f"{number}x {word}" for word, number in words)


def _is_about(reference: str, order_id: str) -> bool:
    # The warehouse is given "reserve:<order>:<sku>", everybody else the order.
    return order_id in reference.split(":")


def _word(call: CallRecord) -> str:
    """What came of a call, as its provider saw it."""
    success = _SUCCESS[call.operation]
    match call.fault:
        case FaultKind.DROP_REPLY:
            return f"{success} (reply lost)"
        case FaultKind.DELAY:
            return f"{success} (reply held)"
        case FaultKind.DROP_BEFORE:
            return "connection lost"
    if call.note is CallNote.REPLAYED:
        return "asked again: same reply"
    if call.note is CallNote.DUPLICATE:
        return "duplicate dropped"
    match call.status:
        case None:
            return "…"
        case 402:
            return "declined"
        case 429:
            return "429 slow down"
        case 503:
            return "503 down"
        case 451:
            return "451 try later"
        case status if status < 300:
            return success
        case _:
            return f"{call.operation.value} refused"


def judge(story: Story, order_id: str, ended: Ended, seen: Seen) -> list[str]:
    """What is wrong with one order by the providers' records; empty when all is well."""
    problems = [f"{violation.message}" for violation in violations(seen.effects)]
    charges = [effect for effect in seen.effects if effect.kind is EffectKind.CAPTURED]
    if len(charges) > 1:
        problems.append(f"{order_id!r} was charged {len(charges)} times")
    if ended.outcome is not story.ending:
        problems.append(f"{order_id!r} ended {ended.outcome.value!r} ({ended.reason}), not {story.ending.value!r}")
    live = Counter(effect.kind for effect in seen.effects if effect.live)
    if ended.outcome is Ending.COMPLETED:
        for kind, name in _COMPLETE.items():
            if live.pop(kind, 0) != 1:
                problems.append(f"{order_id!r} is completed and has not exactly one {name}")
        if any(charge.amount != AMOUNT for charge in charges):
            problems.append(f"{order_id!r} was charged {charges!r}, not {AMOUNT}")
    problems.extend(f"{order_id!r} is {ended.outcome.value} and something is still {kind.value}" for kind in live)
    for operation, fault, _ in story.faults:
        if not any((call.operation, call.fault) == (operation, fault) for call in seen.calls):
            problems.append(f"{order_id!r} never met its trouble ({operation.value}: {fault.value})")
    return [*problems, *ended.problems]


def judge_shop(order_id: str, ended: Ended, shop: Shop) -> list[str]:
    """What is wrong with one order in the service's own database; empty when all is well."""
    if _agrees(ended, shop):
        return []
    return [f"{order_id!r} is {ended.outcome.value}, and the shop's database says: {shop}"]


def _agrees(ended: Ended, shop: Shop) -> bool:
    if ended.outcome is Ending.COMPLETED:
        return shop == Shop(OrderStatus.PLACED, CartStatus.COMPLETED)
    return shop.order in (None, OrderStatus.CANCELLED) and shop.cart is CartStatus.OPEN


@dataclass(frozen=True, slots=True)
class Verdict:
    """All orders together.

    Attributes:
        lines: What the providers' records say, each with whether it is well.
        shop: What the shop's own database says beside it.
        problems: What is wrong, order by order.
    """

    lines: tuple[tuple[bool, str], ...]
    shop: tuple[bool, str]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return not self.problems and self.shop[0] and all(well for well, _ in self.lines)


def verdict(orders: Sequence[tuple[Ended, Seen, Shop]], problems: Sequence[str], *, of: int) -> Verdict:
    """Add the orders up.

    Args:
        orders: How each ended, what was seen of it, and what the shop says.
        problems: What is wrong, order by order.
        of: How many orders there should be.
    """
    charges = [sum(effect.kind is EffectKind.CAPTURED for effect in seen.effects) for _, seen, _ in orders]
    twice = sum(number > 1 for number in charges)
    completed = [order for order in orders if order[0].outcome is Ending.COMPLETED]
    undone = [order for order in orders if order[0].outcome in (Ending.UNDONE, Ending.CANCELLED)]
    whole = sum(_is_whole(seen) for _, seen, _ in completed)
    left = sum(effect.live for _, seen, _ in undone for effect in seen.effects)
    agree = sum(_agrees(ended, shop) for ended, _, shop in orders)
    return Verdict(
        lines=(
            (len(completed) + len(undone) == of, f"{len(orders)} of {of} orders ended, nobody had to step in"),
            (twice == 0, f"{sum(charges)} charges, {twice} orders charged twice"),
            (
                whole == len(completed),
                f"{whole} of {len(completed)} completed orders: charged, reserved, shipped and receipt sent, once each",
            ),
            (left == 0, f"{len(undone)} undone orders: {left} charges, holds or reservations left"),
        ),
        shop=(agree == len(orders), f"{agree} of {len(orders)} orders and carts stand as they should"),
        problems=tuple(problems),
    )


def _is_whole(seen: Seen) -> bool:
    return Counter(effect.kind for effect in seen.effects if effect.live) == Counter(dict.fromkeys(_COMPLETE, 1))
