"""E-mail: a real SMTP server that writes down what it accepted and delivers nothing.

SMTP has no idempotency keys and no look-up. A message counts as sent once the server has taken responsibility
for it (RFC 5321, section 4.1.1.4), even when the `250` never reaches the client; that is why receipts are
sent twice in the world. Nothing is deduplicated, not even by `Message-ID`.

The reference of the effect is the `X-Order-Id` header, else the `Message-ID`; the correlation id is
`X-Correlation-Id`. Faults strike at the end of DATA, when it is known which message it is: `refuse` answers
550, `unavailable`, `rate_limit` and `error_after` answer 451.
"""

import asyncio
from email import message_from_bytes
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, Envelope, Session

from kit.testing.sandbox.exchange import ConnectionDropped, Exchange, Reply, Request
from kit.testing.sandbox.faults import Fault, FaultKind, Operation, Provider
from kit.testing.sandbox.http import CORRELATION_HEADER
from kit.testing.sandbox.records import Caller, EffectKind
from kit.worker.mail import MAIL

REFERENCE_HEADER = "X-Order-Id"


class Mailbox:
    """The e-mail provider, without a socket: takes messages, answers with SMTP replies."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange

    async def receive(self, content: bytes, recipients: list[str]) -> str:
        """Take one message, and return the reply line, such as "250 2.0.0 Ok".

        Raises:
            ConnectionDropped: The script says that the client gets no reply.
        """
        message = message_from_bytes(content, policy=MAIL)
        message_id = str(message.get("Message-ID", "")).strip()
        reference = str(message.get(REFERENCE_HEADER, "")).strip() or message_id
        correlation_id = str(message.get(CORRELATION_HEADER, "")).strip() or None
        caller = Caller(correlation_id)

        def execute() -> Reply:
            self.exchange.journal.did(
                Provider.SMTP,
                EffectKind.SENT,
                reference=reference,
                object_id=message_id,
                caller=caller,
                details={
                    "to": ", ".join(recipients),
                    "subject": str(message.get("Subject", "")),
                    "text": _text(message),
                },
            )
            return Reply(250, "2.0.0 Ok: accepted")

        reply = await self.exchange.serve(
            Provider.SMTP,
            Request(Operation.SEND, "DATA", ", ".join(recipients), reference, caller),
            execute=execute,
            fault_reply=_fault_reply,
        )
        return f"{reply.status} {reply.body}"


class SmtpProtocol(SMTP):
    """One SMTP connection, whose end the server can force."""

    def __init__(self, mailbox: Mailbox, connections: "set[SmtpProtocol]") -> None:
        # A fixed host name: the default asks DNS, which can take seconds.
        super().__init__(self, hostname="sandbox.invalid", enable_SMTPUTF8=True, loop=asyncio.get_running_loop())
        self._mailbox = mailbox
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the connection while it is open."""
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        self._connections.discard(self)
        super().connection_lost(error)

    def abort(self) -> None:
        """Close the connection at once."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Called by aiosmtpd with the whole message."""
        try:
            return await self._mailbox.receive(envelope.original_content or b"", envelope.rcpt_tos)
        except ConnectionDropped:
            self.abort()
            # Losing the connection cancels this coroutine, so that aiosmtpd writes no reply.
            await asyncio.get_running_loop().create_future()
            raise


def _text(message: EmailMessage) -> str:
    """What the recipient reads; empty when there is no plain text, or none that can be decoded."""
    body = message.get_body(preferencelist=("plain",))
    try:
        return "\n".join(str(body.get_content()).splitlines()).strip() if body else ""
    except LookupError:  # an unknown character set: the message was accepted all the same
        return ""


def _fault_reply(fault: Fault, request: Request) -> Reply:
    usual, text = {
        FaultKind.REFUSE: (550, "5.7.1 Message refused"),
        FaultKind.RATE_LIMIT: (451, "4.7.1 Too many messages, try again later"),
        FaultKind.UNAVAILABLE: (451, "4.3.2 Try again later"),
    }.get(fault.fault, (451, "4.3.0 Error while finishing the message"))
    return Reply(fault.status or usual, text)
