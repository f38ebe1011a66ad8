"""An invariant: a business rule over two systems. One definition, asked by sweeps, by live runs and by incidents.

Two systems are compared by the ids that both know. Each is read through operations that only read: in pages, in
whatever order it has, and again by id. What pages show is a suspicion, for the two are never read at the same instant;
what both say when asked for the same id afterwards is evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, Field

from kit.contract.effect import Effect
from kit.contract.keys import quoted
from kit.contract.model import Model
from kit.contract.operation import Operation
from kit.errors import DefinitionError

BUSINESS_KEY: Final = "key"
"""The one placeholder of the templates in `Invariant.effects`."""

AT_MOST: Final = 20
"""How many repairs of one kind a run makes when nothing is said. More are an incident, or a listing that lies."""


class Severity(StrEnum):
    """How bad it is when an invariant does not hold."""

    NOTICE = "notice"
    WARNING = "warning"
    CRITICAL = "critical"


class Record(Model):
    """What one system says of one business object.

    Attributes:
        key: The business id by which the two systems are compared.
        state: How it stands, in the system's own word.
        since: When it came to stand so, by the system's own record; ``None`` where it keeps none.
        facts: What a rule or a repair needs beyond that. It goes into reports: ids and amounts, nothing personal.
    """

    key: str = Field(min_length=1)
    state: str
    since: AwareDatetime | None = None
    facts: dict[str, str] = Field(default_factory=dict)


class Scan(Model):
    """Ask for one page of a system's records.

    Attributes:
        after: The ``next`` of the page before; ``None`` for the first.
        limit: The most records wanted.
    """

    after: str | None = None
    limit: int = Field(default=100, gt=0)


class Page(Model):
    """One page of a system's records, in an order of its own that does not change while it is read.

    Attributes:
        records: What is on it.
        next: What the next page is asked for by; ``None`` on the last.
    """

    records: tuple[Record, ...]
    next: str | None = None


class Keys(Model):
    """Ask for the records of some business ids: all there are of each, as they stand now."""

    keys: tuple[str, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """How one system is read for comparison.

    Attributes:
        name: What it lists, as a report says it: ``"captured payments"``.
        pages: Reads it page by page.
        again: Reads what it says of some ids now, past every cache and index that lags behind.
    """

    name: str
    pages: Operation[Scan, Page]
    again: Operation[Keys, Page]

    def __post_init__(self) -> None:
        """Refuse what would change what it reads."""
        for operation, request in ((self.pages, Scan), (self.again, Keys)):
            if operation.effect is not Effect.READ or (operation.request, operation.result) != (request, Page):
                raise DefinitionError(
                    f"listing {self.name!r}",
                    rule=f"{operation.name!r} is {operation.effect.name} and takes a {operation.request.__name__}",
                    fix=f"read it by an operation with effect READ from {request.__name__} to Page",
                )

    @property
    def settle(self) -> timedelta:
        """How late what has happened may show."""
        return max(self.pages.dependency.settle, self.again.dependency.settle)


class Pair(Model):
    """What the two systems say of one business id. A side that knows nothing of it is empty.

    Attributes:
        key: The business id.
        left: The records of the invariant's left system.
        right: Those of its right system. More than one of a side is a fact, too: an order that was paid twice.
    """

    key: str
    left: tuple[Record, ...] = ()
    right: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What makes an invariant hold again without a person.

    Attributes:
        operation: What is carried out, with its key in the ledger: twice found is once repaired.
        request: Its argument, or ``None`` where the rule cannot decide and a person must.
        at_most: How many of them one run makes. When more are found none is made, and a person is asked: a system that
            lists nothing makes everything in the other one look wrong.
    """

    operation: Operation[Any, Any]
    request: Callable[[Pair], BaseModel | None]
    at_most: int = AT_MOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Invariant:
    """A business rule over two systems, with who answers for it and what is done when it does not hold.

    ::

        CAPTURED_HAS_ORDER = Invariant(
            name="a captured payment has an order",
            severity=Severity.CRITICAL,
            owner="checkout-team",
            left=orders.LISTING,
            right=payments.LISTING,
            check=lambda pair: f"{pair.key} has paid and is no order" if pair.right and not pair.left else None,
            effects=("authorize:{key}",),
            repair=Repair(operation=payments.refund, request=refund_of),
        )

    Attributes:
        name: The rule, as a sentence. A released name never changes: reports and incidents are read by it.
        severity: How bad it is when it does not hold.
        owner: The team that is asked.
        left: One of the two systems.
        right: The other one.
        check: Says what is wrong with a pair, with the values, or ``None``. It is a pure function, also asked of half a
            pair while pages are read; what it says of the whole pair, read again, counts.
        effects: Templates of the keys under which runs have the effects it is about, over ``{key}``; one that ends with
            ``*`` means every key that begins so. While a run that had one of them is open, parked or at work, what
            differs is not wrong yet.
        patience: How long the two may differ by right, besides the settle times of both systems.
        repair: What is done without a person; ``None`` when every finding is a task.
        runbook: Where a person finds what to do.

    Raises:
        DefinitionError: It cannot be asked.
    """

    name: str
    severity: Severity
    owner: str
    left: Listing
    right: Listing
    check: Callable[[Pair], str | None]
    effects: tuple[str, ...] = ()
    patience: timedelta = timedelta(0)
    repair: Repair | None = None
    runbook: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be asked."""

        def refuse(rule: str, fix: str) -> DefinitionError:
            return DefinitionError(f"invariant {self.name!r}", rule=rule, fix=fix)

        if not self.name.strip() or not self.owner.strip():
            raise refuse(f"owner={self.owner!r} or its name is empty", "say the rule, and the team that is asked")
        if self.left == self.right:
            raise refuse("it compares a system with itself", "name two listings")
        if self.patience < timedelta(0):
            raise refuse(f"patience={self.patience!r} is negative", "use timedelta(0) or more")
        for template in self.effects:
            if f"{{{BUSINESS_KEY}}}" not in template:
                raise refuse(f"effect key {template!r} does not name {{key}}", "write e.g. 'authorize:{key}'")
        if self.repair is not None and self.repair.operation.effect is Effect.READ:
            raise refuse(f"its repair {self.repair.operation.name!r} is a READ", "name an operation that changes it")
        if self.repair is not None and self.repair.at_most < 1:
            raise refuse(f"at_most={self.repair.at_most!r} repairs nothing", "leave repair= out, or use 1 or more")

    @property
    def settle(self) -> timedelta:
        """How long after the latest change of either system the two may differ without anything being wrong."""
        return max(self.left.settle, self.right.settle) + self.patience

    @property
    def operations(self) -> tuple[Operation[Any, Any], ...]:
        """Every operation that it needs a connector for."""
        repair = () if self.repair is None else (self.repair.operation,)
        return (self.left.pages, self.left.again, self.right.pages, self.right.again, *repair)

    def effect_keys(self, key: str) -> tuple[str, ...]:
        """The keys of the effects that a run has on this business id."""
        return tuple(template.replace(f"{{{BUSINESS_KEY}}}", quoted(key)) for template in self.effects)
