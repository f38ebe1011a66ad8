"""E-mail by SMTP."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final, NoReturn

import aiosmtplib

from activities.email import contract as email
from activities.email.contract import Notice, SendNotice, SendReceipt, Sent
from kit.contract import FailureKind, Token
from kit.errors import NotStarted, Refused
from kit.worker.connector import Connector
from kit.worker.mail import MAIL

_NOTICES: Final = {
    Notice.PLAN_UPGRADED: ("Your plan is now {plan}", "Account {account} has been upgraded to the plan {plan}."),
    Notice.SUBSCRIPTION_CANCELED: (
        "Your subscription is canceled",
        "The subscription of account {account} to the plan {plan} has been canceled.",
    ),
}
"""Subject and text of each notice."""


class SmtpEmail(Connector):
    """Sends receipts and notices, one connection each.

    Until the message itself is on its way nothing can have happened. Once it is, a lost connection leaves it
    open whether the server has taken it (RFC 5321, section 4.2.5), and the failure map says so.

    Args:
        host: Of the mail server.
        port: Of the mail server.
        sender: The address receipts come from; its domain is the right half of the message ids.
        username: To log in with, if the server asks.
        password: To log in with.
        start_tls: Whether to encrypt: ``None`` when the server offers it.
        timeout: For each command. All of them together must end before the operation's own timeout.
        client: Makes the connection; takes the arguments of `aiosmtplib.SMTP`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        sender: str = "shop@example.com",
        username: str | None = None,
        password: str | None = None,
        start_tls: bool | None = None,
        timeout: timedelta = timedelta(seconds=5),
        client: Callable[..., aiosmtplib.SMTP] = aiosmtplib.SMTP,
    ) -> None:
        self._host = host
        self._port = port
        self._sender = sender
        self._username = username
        self._password = password
        self._start_tls = start_tls
        self._timeout = timeout.total_seconds()
        self._client = client

    @email.send_receipt.action
    async def send_receipt(self, request: SendReceipt, token: Token) -> Sent:
        """Hand the receipt to the mail server."""
        units, cents = divmod(request.amount, 100)
        message = self._message(request.to, token, reference=request.order_id)
        message["Subject"] = f"Your receipt for order {request.order_id}"
        message.set_content(
            f"Thank you for your order {request.order_id}.\n\n"
            f"We have charged {units}.{cents:02} {request.currency.upper()}.\n"
        )
        return await self._hand_over(request, message)

    @email.send_notice.action
    async def send_notice(self, request: SendNotice, token: Token) -> Sent:
        """Hand the notice to the mail server."""
        subject, text = (
            words.format(account=request.account_id, plan=request.plan) for words in _NOTICES[request.template]
        )
        message = self._message(request.to, token, reference=request.notice_id)
        message["Subject"] = subject
        message.set_content(f"{text}\n")
        return await self._hand_over(request, message)

    async def _hand_over(self, request: SendReceipt | SendNotice, message: EmailMessage) -> Sent:
        server = self._client(
            hostname=self._host,
            port=self._port,
            timeout=self._timeout,
            start_tls=self._start_tls,
            username=self._username,
            password=self._password,
        )
        try:
            await self._open_envelope(server, request)
            await server.data(message.as_bytes())
            # The server has taken the message: how the connection ends changes nothing about that.
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await server.quit()
        finally:
            server.close()
        return Sent(message_id=message["Message-ID"])

    async def _open_envelope(self, server: aiosmtplib.SMTP, request: SendReceipt | SendNotice) -> None:
        try:
            await server.connect()
            await server.mail(self._sender)
            await server.rcpt(request.to)
        except (aiosmtplib.SMTPException, OSError) as error:
            _nothing_sent(error)

    def _message(self, to: str, token: Token, *, reference: str) -> EmailMessage:
        """A message without subject and text."""
        message = EmailMessage(MAIL)
        message["From"] = self._sender
        message["To"] = to
        message["Date"] = format_datetime(datetime.now(UTC))
        # The same on every attempt, so that two copies in a mailbox can be told from two messages.
        digest = hashlib.sha256(token.key.encode()).hexdigest()[:32]
        message["Message-ID"] = f"<{digest}@{self._sender.rpartition('@')[2]}>"
        message["X-Order-Id"] = reference
        message["X-Correlation-Id"] = token.correlation_id
        return message


def _nothing_sent(error: Exception) -> NoReturn:
    """Raise what a failure before the message means.

    Raises:
        Refused: The server said no for good.
        NotStarted: It was not reached, went away, or said "later".
    """
    code = getattr(error, "code", None)
    message = f"the mail server took no message: {error}"
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        raise Refused(FailureKind.UNAUTHENTICATED, message, reason=f"smtp_{code}") from error
    if isinstance(code, int) and code // 100 == 5 and not isinstance(error, aiosmtplib.SMTPConnectError):
        raise Refused(FailureKind.INVALID, message, reason=f"smtp_{code}") from error
    timed_out = isinstance(error, TimeoutError)
    raise NotStarted(FailureKind.TIMEOUT if timed_out else FailureKind.UNAVAILABLE, message) from error
