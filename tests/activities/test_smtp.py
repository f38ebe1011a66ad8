"""Receipts against a real SMTP server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import aiosmtplib
import pytest

from activities.email import contract as email
from activities.email.contract import SendReceipt
from activities.email.smtp import SmtpEmail
from kit.contract import FailureKind, Outcome, Token
from kit.errors import NotStarted, OperationFailure, Refused
from kit.testing import Fault, Promise, check_connector
from kit.testing.sandbox import EffectKind, FaultKind, Operation, Sandbox
from kit.worker.failures import classify
from tests.activities.conftest import live

TOKEN = Token(key="receipt:ORDER-1", correlation_id="corr-1", workflow_id="checkout-1")


def _receipt(order_id: str) -> SendReceipt:
    return SendReceipt(order_id=order_id, to="ann@example.com", amount=4999, currency="usd")


async def test_a_receipt_keeps_its_promises(sandbox: Sandbox) -> None:
    """Sending conforms: what may have been sent is never sent again."""

    def fault(kind: FaultKind, order: str, expected: FailureKind, outcome: Outcome) -> Fault:
        async def inject() -> None:
            await sandbox.control.fault(Operation.SEND, kind)

        return Fault(inject, _receipt(order), expected, outcome)

    report = await check_connector(
        SmtpEmail(sandbox.smtp_host, sandbox.smtp_port),
        email.send_receipt,
        _receipt("ORDER-1"),
        oracle=lambda: live(sandbox, EffectKind.SENT),
        faults=[
            fault(FaultKind.REFUSE, "ORDER-2", FailureKind.INVALID, Outcome.REFUSED),
            fault(FaultKind.UNAVAILABLE, "ORDER-3", FailureKind.UNAVAILABLE, Outcome.REFUSED),
            fault(FaultKind.DROP_BEFORE, "ORDER-4", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
            fault(FaultKind.DROP_REPLY, "ORDER-5", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
        ],
    )

    assert report.faults == 4
    assert Promise.ASKS_PERSON in report.kept


async def test_the_message_id_comes_from_the_key(sandbox: Sandbox) -> None:
    """Two attempts send the same message id, so that two copies can be told from two messages."""
    connector = SmtpEmail(sandbox.smtp_host, sandbox.smtp_port, sender="shop@shop.example")

    first = await connector.send_receipt(_receipt("ORDER-1"), TOKEN)
    second = await connector.send_receipt(_receipt("ORDER-1"), TOKEN)
    other = await connector.send_receipt(_receipt("ORDER-2"), TOKEN.model_copy(update={"key": "receipt:ORDER-2"}))

    assert first == second != other
    assert first.message_id.endswith("@shop.example>")
    effects = await sandbox.control.effects("ORDER-1")
    assert [effect.object_id for effect in effects] == [first.message_id] * 2
    assert {effect.correlation_id for effect in effects} == {"corr-1"}


# -- servers that fail at one line of the dialogue -------------------------------------------------------------------

OK = "250 ok"


@asynccontextmanager
async def _server(**replies: str) -> AsyncIterator[SmtpEmail]:
    """A server that answers each command with its scripted line; an empty line closes the connection."""
    script = {"greeting": "220 ready", "EHLO": OK, "MAIL": OK, "RCPT": OK, "DATA": "354 go on", ".": OK, "RSET": OK}
    script |= replies
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            tasks.add(task)
        step = "greeting"
        try:
            while reply := script.get(step, ""):
                writer.write(f"{reply}\r\n".encode())
                await writer.drain()
                lines = await _line(reader, until=(lambda line: line == ".") if step == "DATA" else lambda _: True)
                step = lines.split(" ")[0].upper()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield SmtpEmail("127.0.0.1", server.sockets[0].getsockname()[1], start_tls=False, timeout=timedelta(seconds=5))
    finally:
        server.close()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _line(reader: asyncio.StreamReader, *, until: Callable[[str], bool]) -> str:
    while True:
        line = (await reader.readline()).decode().strip()
        if until(line) or reader.at_eof():
            return line


@pytest.mark.parametrize(
    ("step", "reply", "failure", "kind"),
    [
        ("greeting", "", NotStarted, FailureKind.UNAVAILABLE),
        ("greeting", "554 not here", NotStarted, FailureKind.UNAVAILABLE),
        ("greeting", "421 later", NotStarted, FailureKind.UNAVAILABLE),
        ("MAIL", "", NotStarted, FailureKind.UNAVAILABLE),
        ("MAIL", "451 later", NotStarted, FailureKind.UNAVAILABLE),
        ("MAIL", "550 not you", Refused, FailureKind.INVALID),
        ("RCPT", "", NotStarted, FailureKind.UNAVAILABLE),
        ("RCPT", "450 later", NotStarted, FailureKind.UNAVAILABLE),
        ("RCPT", "550 nobody here", Refused, FailureKind.INVALID),
    ],
)
async def test_nothing_has_happened_before_the_message(
    step: str, reply: str, failure: type[OperationFailure], kind: FailureKind
) -> None:
    """Whatever goes wrong before DATA is clean."""
    async with _server(**{step: reply}) as connector:
        with pytest.raises(failure, match="the mail server took no message") as raised:
            await connector.send_receipt(_receipt("ORDER-1"), TOKEN)

    assert raised.value.kind is kind


@pytest.mark.parametrize(
    ("step", "reply", "kind", "outcome"),
    [
        ("DATA", "", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
        ("DATA", "554 no", FailureKind.INVALID, Outcome.REFUSED),
        (".", "", FailureKind.UNAVAILABLE, Outcome.UNKNOWN),
        (".", "451 later", FailureKind.UNAVAILABLE, Outcome.REFUSED),
        (".", "550 no", FailureKind.INVALID, Outcome.REFUSED),
    ],
)
async def test_a_lost_connection_after_the_message_is_unknown(
    step: str, reply: str, kind: FailureKind, outcome: Outcome
) -> None:
    """From DATA on the server's word counts, and without its word nobody knows."""
    async with _server(**{step: reply}) as connector:
        with pytest.raises(aiosmtplib.SMTPException) as raised:
            await connector.send_receipt(_receipt("ORDER-1"), TOKEN)

    failure = classify(connector, email.send_receipt, raised.value)
    assert (failure.kind, failure.outcome) == (kind, outcome)


async def test_a_lost_goodbye_changes_nothing() -> None:
    """A message the server has taken is sent, however the connection ends."""
    async with _server(QUIT="") as connector:
        sent = await connector.send_receipt(_receipt("ORDER-1"), TOKEN)

    assert sent.message_id


async def test_a_refused_login_is_unauthenticated() -> None:
    """Wrong credentials are told from an unwanted message."""
    async with _server(EHLO="250-ok\r\n250 AUTH PLAIN", AUTH="535 wrong") as server:
        connector = SmtpEmail(server._host, server._port, username="shop", password="wrong", start_tls=False)

        with pytest.raises(Refused) as raised:
            await connector.send_receipt(_receipt("ORDER-1"), TOKEN)

    assert (raised.value.kind, raised.value.reason) == (FailureKind.UNAUTHENTICATED, "smtp_535")


async def test_nobody_listening_is_not_started() -> None:
    """A refused connection is no effect."""
    with pytest.raises(NotStarted) as raised:
        await SmtpEmail("127.0.0.1", 9).send_receipt(_receipt("ORDER-1"), TOKEN)

    assert raised.value.kind is FailureKind.UNAVAILABLE


async def test_a_silent_server_is_a_timeout() -> None:
    """A server that does not greet in time has taken nothing."""
    stop = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stop.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        connector = SmtpEmail("127.0.0.1", port, timeout=timedelta(milliseconds=20))

        with pytest.raises(NotStarted) as raised:
            await connector.send_receipt(_receipt("ORDER-1"), TOKEN)
        stop.set()

    assert raised.value.kind is FailureKind.TIMEOUT
