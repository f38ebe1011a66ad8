"""The wire of an SMTP client: one that speaks to a mailbox in this process, with the interface of aiosmtplib's.

A message is one request. It goes out when the connection is opened (a hold and an outage strike there) and takes effect
at the end of DATA, as RFC 5321 has it (section 4.2.5).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Protocol

import aiosmtplib

from kit.errors import Outcome
from kit.testing.faults import FaultKind
from kit.testing.wire.answers import ON_EVERY_WIRE, Answers
from kit.testing.wire.carrying import Carrier, Request


class Receiver(Protocol):
    """A mail server: what `kit.testing.sandbox` has as its mailbox."""

    async def receive(self, content: bytes, recipients: list[str]) -> str:
        """Take one message, and return the reply line, such as "250 2.0.0 Ok"."""


class SmtpAnswers(Answers[str]):
    """What an SMTP client sees.

    There is no error after the effect: a server that answers 4yz or 5yz has not accepted the message (RFC 5321, section
    4.2.1), and one that has and says otherwise is beyond what any client can make good.
    """

    offers: ClassVar[frozenset[FaultKind]] = ON_EVERY_WIRE | {FaultKind.REFUSED, FaultKind.RATE_LIMITED}
    what = "DATA"

    def unreachable(self) -> BaseException:
        """See base class."""
        return aiosmtplib.SMTPConnectError("nobody answers the connection")

    def lost(self) -> BaseException:
        """See base class."""
        return aiosmtplib.SMTPServerDisconnected("the connection was closed before the reply")

    def refused(self) -> str:
        """See base class."""
        return "550 5.7.1 Message refused"

    def rate_limited(self) -> str:
        """See base class."""
        return "451 4.7.1 Too many messages, try again later"

    def told(self, reply: str) -> tuple[str, Outcome]:
        """See base class."""
        return reply, Outcome.DONE if reply.startswith("2") else Outcome.REFUSED


class WireSmtp:
    """One connection, with those of `aiosmtplib.SMTP`'s methods that send a message.

    Args:
        carrier: Carries it.
        mailbox: Takes the messages.
        system: Its name.
        late: See `Carrier.carry`.
        **options: Address, credentials and the like: there is nobody who asks for them.
    """

    def __init__(
        self, carrier: Carrier, mailbox: Receiver, *, system: str, late: timedelta | None, **options: Any
    ) -> None:
        self._carrier = carrier
        self._mailbox = mailbox
        self._system = system
        self._late = late
        self._answers = SmtpAnswers()
        self._request: Request | None = None
        self._recipients: list[str] = []

    async def connect(self, **options: Any) -> None:
        """Open the connection."""
        self._request = await self._carrier.admit(self._system, self._answers, late=self._late)

    async def mail(self, sender: str, **options: Any) -> None:
        """Name the sender."""

    async def rcpt(self, recipient: str, **options: Any) -> None:
        """Name a recipient."""
        self._recipients.append(recipient)

    async def data(self, message: bytes) -> str:
        """Hand the message over.

        Raises:
            aiosmtplib.SMTPDataError: The server says no.
        """

        async def send() -> str:
            return await self._mailbox.receive(message, list(self._recipients))

        request, self._request = self._request, None
        line = await (send() if request is None else self._carrier.deliver(request, send))
        code, _, text = line.partition(" ")
        if not code.startswith("2"):
            raise aiosmtplib.SMTPDataError(int(code), text)
        return text

    async def quit(self, **options: Any) -> None:
        """Say goodbye."""

    def close(self) -> None:
        """End the connection."""
        if self._request is not None:
            self._carrier.withdrawn(self._request, "QUIT")
            self._request = None
