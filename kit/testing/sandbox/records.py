"""What the sandbox providers saw: effects and calls, and the verdict drawn from them alone.

Every provider writes its own record. The code under test never does, so the record is the oracle: whether a
customer was charged twice is decided here, from what the providers did, and from nothing the kit believes.

An effect is *live* while it stands in the world: an authorization until it is voided or captured, a capture
until it is refunded in full, a reservation until it is released, a written value until another one is written over
it. What cannot be taken back (a delivered webhook, a sent message) stays live. Records of reversals (`voided`,
`released`, `refunded`, `archived`, `closed`) are never live.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from kit.testing.sandbox.faults import FaultKind, Operation, Provider


class EffectKind(StrEnum):
    """What a provider did."""

    AUTHORIZED = "authorized"
    VOIDED = "voided"
    CAPTURED = "captured"
    REFUNDED = "refunded"
    CANCELED = "canceled"
    PLAN_CHANGED = "plan_changed"
    RESERVED = "reserved"
    RELEASED = "released"
    DELIVERED = "delivered"
    SENT = "sent"
    CREATED = "created"
    UPDATED = "updated"
    ARCHIVED = "archived"
    OPENED = "opened"
    CLOSED = "closed"
    ENTITLED = "entitled"


class EffectRecord(BaseModel):
    """One effect, as the provider that did it wrote it down.

    Attributes:
        sequence: Position among all effects of the sandbox; starts at 1.
        reference: The business reference the caller gave, usually the order id.
        object_id: The provider's own id of what it made or changed.
        amount: Minor units of `currency`, for payments.
        quantity: Units, for stock.
        live: Whether the effect stands now, not whether it stood once.
        details: Facts of one provider: `sku`, `event_type`, `to`, `subject`, `text`, `from`; in the CRM and of
            entitlements what was written, and under `was_...` what it was written over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence: int
    provider: Provider
    kind: EffectKind
    reference: str
    object_id: str
    at: datetime
    amount: int | None = None
    currency: str | None = None
    quantity: int | None = None
    live: bool = True
    correlation_id: str | None = None
    idempotency_key: str | None = None
    details: Mapping[str, str] = Field(default_factory=dict)


class CallNote(StrEnum):
    """Why a call that succeeded had no new effect."""

    REPLAYED = "replayed"
    """The idempotency key was known: the stored reply was sent again."""
    DUPLICATE = "duplicate"
    """The webhook id was known: the delivery was acknowledged and dropped."""


class CallRecord(BaseModel):
    """One call a provider received, whatever came of it.

    `status` is None while the call is being served, and for ever when the connection was dropped instead of
    answered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sequence: int
    provider: Provider
    operation: Operation
    method: str
    path: str
    reference: str
    at: datetime
    idempotency_key: str | None = None
    correlation_id: str | None = None
    fault: FaultKind | None = None
    status: int | None = None
    note: CallNote | None = None


class Caller(NamedTuple):
    """Who asked, as far as the provider can tell from the request."""

    correlation_id: str | None = None
    idempotency_key: str | None = None


NOBODY = Caller()


def utc_now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


class Journal:
    """The records of one sandbox, in the order things happened."""

    def __init__(self, *, now: Callable[[], datetime] = utc_now) -> None:
        self.now = now
        self._effects: list[EffectRecord] = []
        self._calls: list[CallRecord] = []

    def clear(self) -> None:
        """Forget everything."""
        # New lists: a call in flight across a reset must not write into the next story.
        self._effects = []
        self._calls = []

    def effects(self, reference: str | None = None) -> tuple[EffectRecord, ...]:
        """Every effect, or those of exactly one reference."""
        return tuple(e for e in self._effects if reference is None or e.reference == reference)

    def calls(self) -> tuple[CallRecord, ...]:
        """Every call received."""
        return tuple(self._calls)

    def did(
        self,
        provider: Provider,
        kind: EffectKind,
        *,
        reference: str,
        object_id: str,
        caller: Caller = NOBODY,
        live: bool = True,
        amount: int | None = None,
        currency: str | None = None,
        quantity: int | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """Write an effect down, at the moment it happens."""
        self._effects.append(
            EffectRecord(
                sequence=len(self._effects) + 1,
                provider=provider,
                kind=kind,
                reference=reference,
                object_id=object_id,
                at=self.now(),
                amount=amount,
                currency=currency,
                quantity=quantity,
                live=live,
                correlation_id=caller.correlation_id,
                idempotency_key=caller.idempotency_key,
                details=dict(details or {}),
            )
        )

    def ended(self, provider: Provider, kind: EffectKind, object_id: str) -> None:
        """Say that an effect written down earlier stands no longer."""
        for index, effect in enumerate(self._effects):
            if (effect.provider, effect.kind, effect.object_id) == (provider, kind, object_id):
                self._effects[index] = effect.model_copy(update={"live": False})

    def received(
        self,
        provider: Provider,
        operation: Operation,
        *,
        method: str,
        path: str,
        reference: str,
        caller: Caller,
    ) -> "OpenCall":
        """Write a call down as it arrives; what comes of it is added through the returned handle."""
        record = CallRecord(
            sequence=len(self._calls) + 1,
            provider=provider,
            operation=operation,
            method=method,
            path=path,
            reference=reference,
            at=self.now(),
            idempotency_key=caller.idempotency_key,
            correlation_id=caller.correlation_id,
        )
        self._calls.append(record)
        return OpenCall(self._calls, record)


class OpenCall:
    """A call being served."""

    def __init__(self, calls: list[CallRecord], record: CallRecord) -> None:
        self._calls = calls
        self._record = record

    def faulted(self, fault: FaultKind) -> None:
        """Note the scripted fault that was applied."""
        self._set(fault=fault)

    def answered(self, status: int) -> None:
        """Note the status that was sent."""
        self._set(status=status)

    def noted(self, note: CallNote) -> None:
        """Note why there was no new effect."""
        self._set(note=note)

    def _set(self, **changes: object) -> None:
        self._record = self._record.model_copy(update=changes)
        self._calls[self._record.sequence - 1] = self._record


class ViolationRule(StrEnum):
    """What must never be true of one reference."""

    CHARGED_TWICE = "charged_twice"
    HELD_TWICE = "held_twice"
    RESERVED_TWICE = "reserved_twice"
    DELIVERED_TWICE = "delivered_twice"
    SENT_TWICE = "sent_twice"
    OPENED_TWICE = "opened_twice"


class Violation(BaseModel):
    """One broken rule, with a sentence for people."""

    model_config = ConfigDict(frozen=True)

    rule: ViolationRule
    reference: str
    message: str


# What may stand once: the rule, and which details tell two legitimate effects of one reference apart. What its
# provider can do only once (end a subscription) needs no rule.
_ONCE: dict[EffectKind, tuple[ViolationRule, tuple[str, ...]]] = {
    EffectKind.CAPTURED: (ViolationRule.CHARGED_TWICE, ()),
    EffectKind.AUTHORIZED: (ViolationRule.HELD_TWICE, ()),
    EffectKind.RESERVED: (ViolationRule.RESERVED_TWICE, ("sku",)),
    EffectKind.DELIVERED: (ViolationRule.DELIVERED_TWICE, ("event_type",)),
    EffectKind.SENT: (ViolationRule.SENT_TWICE, ("to", "subject")),
    EffectKind.OPENED: (ViolationRule.OPENED_TWICE, ("subject",)),
}


def live_effects(records: Iterable[EffectRecord], reference: str) -> tuple[EffectRecord, ...]:
    """The effects of one reference that stand now, oldest first."""
    return tuple(r for r in records if r.live and r.reference == reference)


def violations(records: Iterable[EffectRecord]) -> tuple[Violation, ...]:
    """Every rule broken by what the providers recorded; empty when nobody was harmed.

    What a *finished* order must have is not judged here: the providers do not know how an order ended.
    """
    live = [record for record in records if record.live]
    found = []
    seen: Counter[tuple[ViolationRule, EffectKind, str, str]] = Counter()
    for record in live:
        if record.kind not in _ONCE:
            continue
        rule, keys = _ONCE[record.kind]
        what = ", ".join(f"{key} {record.details.get(key, '')!r}" for key in keys)
        seen[rule, record.kind, record.reference, what] += 1
    for (rule, kind, reference, what), count in seen.items():
        if count > 1:
            suffix = f" ({what})" if what else ""
            message = f"{reference!r} has {count} live effects {kind.value!r}{suffix}; expected at most 1"
            found.append(Violation(rule=rule, reference=reference, message=message))
    charged = {r.reference for r in live if r.kind is EffectKind.CAPTURED}
    for reference in sorted({r.reference for r in live if r.kind is EffectKind.AUTHORIZED} & charged):
        message = f"{reference!r} is charged, and another authorization still holds money; expected it to be voided"
        found.append(Violation(rule=ViolationRule.HELD_TWICE, reference=reference, message=message))
    return tuple(found)
