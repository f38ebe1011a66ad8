"""What can be done about an operation after it happened, and how it is kept to one effect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from kit.errors import DefinitionError


class Effect(StrEnum):
    """What can be done about an operation after it happened."""

    READ = "read"
    """Changes nothing; may be repeated freely."""
    REVERSIBLE = "reversible"
    """Can be taken back as if it had not happened (a reservation)."""
    COMPENSATABLE = "compensatable"
    """Can be made good by a counter-action that stays visible (a refund)."""
    RECONCILABLE = "reconcilable"
    """Has no automatic undo; its truth can be looked up, and a person or a reconciliation repairs it."""
    IRREVERSIBLE = "irreversible"
    """Cannot be taken back (an e-mail)."""

    @property
    def undoable(self) -> bool:
        """Whether a compensation belongs to it."""
        return self in (Effect.REVERSIBLE, Effect.COMPENSATABLE)

    @property
    def hold_fails(self) -> HoldFails:
        """What happens while nobody can say whether a hold is on, unless the operation declares it.

        What leaves no trace behind goes on: nothing, or what can be taken back as if it had not happened. Everything
        else waits. That costs time and no attempt, and by default nothing at all: holds live in the ledger's own
        database, without which no effect is carried out anyway. The other way round a kill switch would fail to
        kill just when things go wrong.
        """
        return HoldFails.OPEN if self in (Effect.READ, Effect.REVERSIBLE) else HoldFails.CLOSED


class HoldFails(StrEnum):
    """What an operation does while nobody can say whether a hold is on it."""

    OPEN = "open"
    """It goes on."""
    CLOSED = "closed"
    """It waits, as if there were one."""


class OnceStrategy(StrEnum):
    """How an operation is kept to one effect."""

    BY_KEY = "by_key"
    BY_PROBE = "by_probe"
    BY_STATE = "by_state"
    BY_TRANSACTION = "by_transaction"
    NEVER_TWICE = "never_twice"


@dataclass(frozen=True, slots=True)
class Once:
    """A once-strategy with what it needs. Build one with the class methods."""

    strategy: OnceStrategy
    ttl: timedelta | None = None

    @classmethod
    def by_key(cls, *, ttl: timedelta) -> Once:
        """The provider honours an idempotency key.

        Args:
            ttl: For how long after the first request the provider remembers the key (Stripe: at least 24 hours,
                https://docs.stripe.com/api/idempotent_requests). After it, an unknown outcome is looked up by the
                probe if there is one, and otherwise goes to a person; the key is never trusted again.

        Raises:
            DefinitionError: ``ttl`` is not positive.
        """
        if ttl <= timedelta(0):
            raise DefinitionError(
                "Once.by_key",
                rule=f"ttl={ttl!r} must be positive",
                fix="give the time the provider documents for its idempotency keys, e.g. timedelta(hours=24)",
            )
        return cls(OnceStrategy.BY_KEY, ttl)

    @classmethod
    def by_probe(cls) -> Once:
        """The connector can look up whether the effect happened."""
        return cls(OnceStrategy.BY_PROBE)

    @classmethod
    def by_state(cls) -> Once:
        """Compare and write: doing it again changes nothing.

        The comparison must also fail for a request that arrives after the undo (a version or a state that never comes
        back), or a late attempt could bring the effect back.
        """
        return cls(OnceStrategy.BY_STATE)

    @classmethod
    def by_transaction(cls) -> Once:
        """Effect and ledger row commit together, in the service's own database."""
        return cls(OnceStrategy.BY_TRANSACTION)

    @classmethod
    def never_twice(cls) -> Once:
        """There is no way to know: an unknown outcome goes to a person."""
        return cls(OnceStrategy.NEVER_TWICE)
