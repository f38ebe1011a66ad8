"""Idempotency keys, as Stripe keeps them (https://docs.stripe.com/api/idempotent_requests).

The reply of the first call whose execution began is kept, whatever it was, 500 included. The same key with
other parameters or another path is an error, and so is a key whose first call has not been answered. What
failed before execution (credentials, validation, rate limits) leaves the key free. Stripe forgets keys after
24 hours at the earliest; the sandbox keeps them until it is reset.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kit.testing.sandbox.exchange import Reply
from kit.testing.sandbox.records import CallNote
from kit.testing.sandbox.stripe_wire import error_reply

# https://docs.stripe.com/api/idempotent_requests: "up to 255 characters".
MAX_KEY_LENGTH = 255


@dataclass(slots=True)
class _Use:
    """What a key was used for; `reply` is None while the first call is being served."""

    path: str
    params: Mapping[str, str]
    reply: Reply | None = None


class IdempotencyKeys:
    """All keys a provider knows."""

    def __init__(self) -> None:
        self._uses: dict[str, _Use] = {}

    def clear(self) -> None:
        """Forget every key."""
        self._uses.clear()

    def state(self) -> tuple[object, ...]:
        """All that later answers depend on."""
        return tuple(self._uses.items())

    def slot(self, key: str, *, path: str, params: Mapping[str, str]) -> "Slot":
        """The place of one key, for one call."""
        return Slot(self._uses, key, _Use(path, params))


class Slot:
    """One call's view of its key; satisfies `KeySlot`."""

    __slots__ = ("_key", "_mine", "_uses")

    def __init__(self, uses: dict[str, _Use], key: str, mine: _Use) -> None:
        self._uses = uses
        self._key = key
        self._mine = mine

    def known(self) -> Reply | None:
        """The stored reply, an error for another use of the key, or None for a new key."""
        first = self._uses.get(self._key)
        if first is None:
            return None
        if (first.path, first.params) != (self._mine.path, self._mine.params):
            return error_reply(
                400,
                "idempotency_error",
                f"The idempotency key {self._key!r} was first used with other parameters. "
                "Keys can only be used again with the same ones: take another key for another request.",
            )
        if first.reply is None:
            return error_reply(
                409,
                "idempotency_error",
                f"Another request with the idempotency key {self._key!r} is still being served.",
                code="idempotency_key_in_use",
            )
        return replace(
            first.reply,
            headers={**first.reply.headers, "Idempotent-Replayed": "true"},
            note=CallNote.REPLAYED,
        )

    def begin(self) -> None:
        """Mark the key as being served."""
        self._uses[self._key] = self._mine

    def end(self, reply: Reply) -> None:
        """Keep the reply, or free the key when the reply is not to be remembered."""
        if reply.remember:
            self._mine.reply = reply
        else:
            self._uses.pop(self._key, None)
