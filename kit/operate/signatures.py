"""Signed webhooks, as Standard Webhooks has them: https://www.standardwebhooks.com.

The sender signs ``<webhook-id>.<webhook-timestamp>.<body>`` with HMAC-SHA256 and sends the three in headers; a header
may hold several signatures, and a receiver may know several secrets, so that a secret can be replaced without a gap.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from kit.errors import DefinitionError

TOLERANCE: Final = timedelta(minutes=5)
"""How far a delivery's timestamp may be from now: what the specification's own libraries allow."""

PREFIX: Final = "whsec_"
LEAST_BYTES: Final = 24
"""A secret has 24 to 64 bytes, says the specification."""


class BadSignature(ValueError):
    """Nobody who knows a secret has signed this."""


class StaleTimestamp(ValueError):
    """It is signed, but for another time: a delivery that somebody kept, or a clock that is wrong."""


class Signatures:
    """What a receiver verifies deliveries with.

    Args:
        secrets: As ``whsec_<base64>`` or ``<base64>``; the old and the new one while a secret is being replaced.
        tolerance: How far a timestamp may be from now, in either direction.

    Raises:
        DefinitionError: There is no secret, or one that is none; the message does not show it.
    """

    def __init__(self, secrets: Sequence[str], *, tolerance: timedelta = TOLERANCE) -> None:
        self._tolerance = tolerance
        self._keys = [_key(secret, number) for number, secret in enumerate(secrets, start=1)]
        if not self._keys:
            raise DefinitionError(
                "webhook signatures", rule="without a secret anybody could send", fix="give secrets=('whsec_...',)"
            )

    def verify(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> str:
        """Check who sent this, and when.

        Args:
            headers: Names in lower case.
            body: The very bytes that came.
            now: The time here.

        Returns:
            The delivery's ``webhook-id``: the same however often it is sent.

        Raises:
            BadSignature: A header is missing or malformed, or no signature fits.
            StaleTimestamp: Signed well, and longer ago, or later, than is tolerated.
        """
        message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not message_id or not stamp.isdecimal() or len(stamp) > _DIGITS:
            raise BadSignature("webhook-id or webhook-timestamp is missing or malformed")
        signed = f"{message_id}.{stamp}.".encode() + body
        wanted = [hmac.digest(key, signed, "sha256") for key in self._keys]
        # Every signature with every secret, whatever has fitted before: how long it takes tells nothing.
        fits = [hmac.compare_digest(mine, theirs) for theirs in _given(headers) for mine in wanted]
        if not any(fits):
            raise BadSignature("no signature fits")
        if abs(now - datetime.fromtimestamp(int(stamp), UTC)) > self._tolerance:
            raise StaleTimestamp(f"webhook-timestamp {stamp} is more than {self._tolerance} from now")
        return message_id


_DIGITS: Final = 11
"""Of the largest timestamp, in seconds, that is a date."""


def _given(headers: Mapping[str, str]) -> list[bytes]:
    found = []
    for each in headers.get("webhook-signature", "").split():
        version, _, encoded = each.partition(",")
        if version == "v1":
            try:
                found.append(base64.b64decode(encoded, validate=True))
            except (binascii.Error, ValueError):
                continue  # it fits nothing
    return found


def _key(secret: str, number: int) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < LEAST_BYTES:
        raise DefinitionError(
            "webhook signatures",
            rule=f"secret number {number} is no base64 of {LEAST_BYTES} bytes or more",
            fix=f"write it as {PREFIX}<base64>",
        )
    return key
