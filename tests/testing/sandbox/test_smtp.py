"""The SMTP server records what it took responsibility for, and fails on command."""

import asyncio
import smtplib

import aiosmtplib
import pytest

from kit.testing.sandbox import EffectKind, FaultKind, Operation, Sandbox

from .conftest import Gate, SendMail


async def test_accepted_message_is_recorded(sandbox: Sandbox, send_mail: SendMail) -> None:
    """An accepted message is one effect of its order, with its id, recipient, subject and text."""
    await send_mail("ORDER-1")

    [effect] = await sandbox.control.effects("ORDER-1")
    assert (effect.kind, effect.object_id, effect.correlation_id) == (
        EffectKind.SENT,
        "<receipt-1@shop.test>",
        "corr-1",
    )
    assert effect.details == {
        "to": "ada@customer.test",
        "subject": "Your receipt",
        "text": "Thank you.\n.\nA line with one dot must survive.",
    }


async def test_message_without_an_order_is_known_by_its_id(sandbox: Sandbox, send_mail: SendMail) -> None:
    """Without an order header the Message-ID is the reference."""
    await send_mail(None, message_id="<m@shop.test>")

    assert [effect.reference for effect in await sandbox.control.effects()] == ["<m@shop.test>"]


async def test_smtp_knows_no_repetition(sandbox: Sandbox, send_mail: SendMail) -> None:
    """The same Message-ID twice is two messages in the customer's mailbox."""
    await send_mail()
    await send_mail()

    assert len(await sandbox.control.effects("ORDER-1")) == 2


async def test_standard_library_client_is_served(sandbox: Sandbox) -> None:
    """A client that knows nothing of the sandbox can send several messages over one connection."""

    def send_two() -> None:
        with smtplib.SMTP(sandbox.smtp_host, sandbox.smtp_port) as client:
            for number in (1, 2):
                text = f"X-Order-Id: ORDER-{number}\r\nSubject: hello\r\n\r\nbody"
                client.sendmail("shop@shop.test", ["ada@customer.test", "bob@customer.test"], text)

    await asyncio.to_thread(send_two)

    effects = await sandbox.control.effects()
    assert [effect.reference for effect in effects] == ["ORDER-1", "ORDER-2"]
    assert effects[0].details["to"] == "ada@customer.test, bob@customer.test"


@pytest.mark.parametrize(
    ("kind", "code", "sent"),
    [
        (FaultKind.REFUSE, 550, 0),
        (FaultKind.UNAVAILABLE, 451, 0),
        (FaultKind.RATE_LIMIT, 451, 0),
        (FaultKind.ERROR_AFTER, 451, 1),
    ],
)
async def test_error_replies(sandbox: Sandbox, send_mail: SendMail, kind: FaultKind, code: int, sent: int) -> None:
    """Each fault has its reply code, and only `error_after` has sent the message."""
    await sandbox.control.fault(Operation.SEND, kind, match="ORDER-1")

    with pytest.raises(aiosmtplib.SMTPDataError) as error:
        await send_mail("ORDER-1")

    assert error.value.code == code
    assert len(await sandbox.control.effects()) == sent
    assert [(call.fault, call.status) for call in await sandbox.control.calls()] == [(kind, code)]


async def test_reply_code_can_be_chosen(sandbox: Sandbox, send_mail: SendMail) -> None:
    """A fault may name the reply code, as servers differ in how they refuse."""
    await sandbox.control.fault(Operation.SEND, FaultKind.REFUSE, status=554)

    with pytest.raises(aiosmtplib.SMTPDataError) as error:
        await send_mail()

    assert error.value.code == 554


@pytest.mark.parametrize(("kind", "sent"), [(FaultKind.DROP_REPLY, 1), (FaultKind.DROP_BEFORE, 0)])
async def test_dropped_connections_look_alike(
    sandbox: Sandbox, send_mail: SendMail, kind: FaultKind, sent: int
) -> None:
    """The client cannot tell whether the message went out before the connection closed; the record can."""
    await sandbox.control.fault(Operation.SEND, kind)

    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await send_mail()

    assert len(await sandbox.control.effects()) == sent
    assert [call.status for call in await sandbox.control.calls()] == [None]


async def test_server_goes_on_after_a_drop(sandbox: Sandbox, send_mail: SendMail) -> None:
    """A dropped connection harms nobody but its client."""
    await sandbox.control.fault(Operation.SEND, FaultKind.DROP_BEFORE)
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await send_mail()

    await send_mail()

    assert len(await sandbox.control.effects()) == 1


async def test_delayed_reply_comes_after_the_effect(sandbox: Sandbox, send_mail: SendMail, gate: Gate) -> None:
    """A delay holds back the reply, not the message."""
    await sandbox.control.fault(Operation.SEND, FaultKind.DELAY, seconds=30)
    async with asyncio.TaskGroup() as group:
        group.create_task(send_mail())
        await gate.entered.wait()
        sent = await sandbox.control.effects()
        gate.open()

    assert gate.seconds == [30]
    assert len(sent) == 1
