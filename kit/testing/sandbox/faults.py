"""Scripted faults: a closed vocabulary, and the script that deals them out call by call.

A call meets at most one fault: the oldest one that fits its provider, operation and reference and is not used
up.

| fault | does the effect | what the caller sees |
|---|---|---|
| `drop_before` | no | the connection closes without a reply |
| `rate_limit` | no | 429 with `Retry-After` (SMTP: 451) |
| `unavailable` | no | 503 (SMTP: 451) |
| `refuse` | no | the provider's own clean refusal: a declined card, out of stock, 550 |
| `error_after` | yes | 500 (SMTP: 451) |
| `drop_reply` | yes | the connection closes without a reply |
| `delay` | yes | the normal reply, late |

Where a provider keeps idempotency keys, a call whose key is known executes nothing: `refuse` and
`error_after` then wait for the next call that does. The others apply to it like to any call.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator


class Provider(StrEnum):
    """The external systems of the sandbox."""

    PAYMENTS = "payments"
    BILLING = "billing"
    STOCK = "stock"
    WEBHOOKS = "webhooks"
    SMTP = "smtp"
    CRM = "crm"
    TICKETS = "tickets"
    ENTITLEMENTS = "entitlements"
    ENRICHMENT = "enrichment"


class Operation(StrEnum):
    """What can be asked of a provider."""

    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    CANCEL = "cancel"
    REFUND = "refund"
    FIND = "find"
    READ_SUBSCRIPTION = "read_subscription"
    CHANGE_SUBSCRIPTION = "change_subscription"
    CANCEL_SUBSCRIPTION = "cancel_subscription"
    RESERVE = "reserve"
    RELEASE = "release"
    LOOKUP = "lookup"
    DELIVER = "deliver"
    SEND = "send"
    READ_COMPANY = "read_company"
    WRITE_COMPANY = "write_company"
    ARCHIVE_COMPANY = "archive_company"
    LIST_COMPANIES = "list_companies"
    SEARCH_COMPANIES = "search_companies"
    OPEN_TICKET = "open_ticket"
    READ_TICKET = "read_ticket"
    UPDATE_TICKET = "update_ticket"
    SEARCH_TICKETS = "search_tickets"
    READ_ENTITLEMENT = "read_entitlement"
    CHANGE_ENTITLEMENT = "change_entitlement"
    ENRICH = "enrich"

    @property
    def provider(self) -> Provider:
        """The one provider that offers it."""
        return next(provider for provider, offered in OPERATIONS.items() if self in offered)


OPERATIONS: dict[Provider, tuple[Operation, ...]] = {
    Provider.PAYMENTS: (
        Operation.AUTHORIZE,
        Operation.CAPTURE,
        Operation.CANCEL,
        Operation.REFUND,
        Operation.FIND,
    ),
    Provider.BILLING: (
        Operation.READ_SUBSCRIPTION,
        Operation.CHANGE_SUBSCRIPTION,
        Operation.CANCEL_SUBSCRIPTION,
    ),
    Provider.STOCK: (Operation.RESERVE, Operation.RELEASE, Operation.LOOKUP),
    Provider.WEBHOOKS: (Operation.DELIVER,),
    Provider.SMTP: (Operation.SEND,),
    Provider.CRM: (
        Operation.READ_COMPANY,
        Operation.WRITE_COMPANY,
        Operation.ARCHIVE_COMPANY,
        Operation.LIST_COMPANIES,
        Operation.SEARCH_COMPANIES,
    ),
    Provider.TICKETS: (
        Operation.OPEN_TICKET,
        Operation.READ_TICKET,
        Operation.UPDATE_TICKET,
        Operation.SEARCH_TICKETS,
    ),
    Provider.ENTITLEMENTS: (Operation.READ_ENTITLEMENT, Operation.CHANGE_ENTITLEMENT),
    Provider.ENRICHMENT: (Operation.ENRICH,),
}


class FaultKind(StrEnum):
    """What can go wrong with one call; the table above says what each does."""

    REFUSE = "refuse"
    UNAVAILABLE = "unavailable"
    RATE_LIMIT = "rate_limit"
    DROP_REPLY = "drop_reply"
    DELAY = "delay"
    DROP_BEFORE = "drop_before"
    ERROR_AFTER = "error_after"


# A fault may change the status it answers with only where it answers with one.
_WITH_STATUS = frozenset({FaultKind.REFUSE, FaultKind.UNAVAILABLE, FaultKind.ERROR_AFTER})
_WITH_RETRY_AFTER = frozenset({FaultKind.RATE_LIMIT, FaultKind.UNAVAILABLE})


class Fault(BaseModel):
    """One line of the script.

    Attributes:
        match: A part of the reference (order id) the call must be about; empty fits every call. status:
        Instead of the provider's usual status; `refuse`, `unavailable` and `error_after` only. retry_after:
        Seconds in `Retry-After`; 1 for `rate_limit` when not given; also allowed for `unavailable`. seconds:
        How late the reply is; required by `delay`, and for it only. times: How many calls it hits; "always"
        until the script is cleared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: Provider
    operation: Operation
    fault: FaultKind
    match: str = ""
    status: int | None = Field(default=None, ge=400, le=599)
    retry_after: NonNegativeInt | None = None
    seconds: PositiveFloat | None = None
    times: PositiveInt | Literal["always"] = 1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        offered = [operation.value for operation in OPERATIONS[self.provider]]
        if self.operation not in offered:
            raise ValueError(
                f"provider {self.provider.value!r} has no operation {self.operation.value!r}, "
                f"expected one of {offered}; it belongs to {self.operation.provider.value!r}"
            )
        if (self.seconds is None) == (self.fault is FaultKind.DELAY):
            raise ValueError(f"`seconds` goes with 'delay' and with nothing else, got {self.fault.value!r}")
        if self.status is not None and self.fault not in _WITH_STATUS:
            raise ValueError(f"fault {self.fault.value!r} answers with no status of its own, got {self.status!r}")
        if self.retry_after is not None and self.fault not in _WITH_RETRY_AFTER:
            raise ValueError(f"fault {self.fault.value!r} sends no Retry-After, got {self.retry_after!r}")
        return self

    def retry_after_header(self) -> dict[str, str]:
        """The `Retry-After` header this fault sends, if any (whole seconds, RFC 9110)."""
        if self.fault is FaultKind.RATE_LIMIT:
            return {"Retry-After": str(1 if self.retry_after is None else self.retry_after)}
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


class _Line:
    """A fault, and how many more calls it will hit."""

    __slots__ = ("fault", "left")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.left = float("inf") if fault.times == "always" else fault.times


class FaultScript:
    """The faults still to come, oldest first."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._lines = [_Line(fault) for fault in faults]

    def add(self, fault: Fault) -> None:
        """Append a fault to the script."""
        self._lines.append(_Line(fault))

    def clear(self) -> None:
        """Drop every fault that has not been used up."""
        self._lines.clear()

    def pending(self) -> tuple[Fault, ...]:
        """The faults not used up."""
        return tuple(line.fault for line in self._lines)

    def take(
        self,
        provider: Provider,
        operation: Operation,
        reference: str,
        *,
        leave: frozenset[FaultKind] = frozenset(),
    ) -> Fault | None:
        """Use up one hit of the oldest fault that fits the call.

        A fault whose kind is in `leave` blocks the call's place in the script but is neither applied nor used
        up.
        """
        for line in self._lines:
            fault = line.fault
            if (fault.provider, fault.operation) != (provider, operation) or fault.match not in reference:
                continue
            if fault.fault in leave:
                return None
            line.left -= 1
            if line.left <= 0:
                self._lines.remove(line)
            return fault
        return None
