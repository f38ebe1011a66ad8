"""The sandbox as a whole: sockets, control endpoint, in-process transport, command."""

import asyncio
import json
import logging
import signal
import sys

import httpx
import pytest
from pydantic import ValidationError

from kit.testing import sandbox as public
from kit.testing.sandbox import (
    FaultKind,
    Operation,
    Provider,
    Sandbox,
    SandboxApp,
    SandboxControl,
    SandboxTransport,
)
from kit.testing.sandbox.server import KEEP_ALIVE

from .conftest import Authorize, Gate, SendMail


@pytest.mark.parametrize(("kind", "effects"), [(FaultKind.DROP_REPLY, 1), (FaultKind.DROP_BEFORE, 0)])
async def test_drop_closes_the_socket(
    sandbox: Sandbox, authorize: Authorize, caplog: pytest.LogCaptureFixture, kind: FaultKind, effects: int
) -> None:
    """A dropped call closes the TCP connection without a byte of reply, and uvicorn logs no complaint."""
    await sandbox.control.fault(Operation.AUTHORIZE, kind, match="ORDER-1")

    with pytest.raises(httpx.RemoteProtocolError, match="disconnected without sending a response"):
        await authorize("ORDER-1")

    assert len(await sandbox.control.effects()) == effects
    [call] = await sandbox.control.calls()
    assert (call.fault, call.status) == (kind, None)
    complaints = [r.message for r in caplog.records if r.name.startswith("uvicorn") and r.levelno >= logging.WARNING]
    assert complaints == []


async def test_drop_closes_the_socket_of_a_get(sandbox: Sandbox, http: httpx.AsyncClient, authorize: Authorize) -> None:
    """A look-up whose body nobody read is dropped like any other call."""
    intent_id = (await authorize("ORDER-1")).json()["id"]
    await sandbox.control.fault(Operation.FIND, FaultKind.DROP_REPLY, match="ORDER-1")

    with pytest.raises(httpx.RemoteProtocolError):
        await http.get(f"/v1/payment_intents/{intent_id}")

    assert (await http.get(f"/v1/payment_intents/{intent_id}")).status_code == 200


async def test_delay_holds_back_the_reply_only(sandbox: Sandbox, authorize: Authorize, gate: Gate) -> None:
    """A delayed call has had its effect, and its status is not known while it waits."""
    await sandbox.control.fault(Operation.AUTHORIZE, FaultKind.DELAY, seconds=30)
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(authorize())
        await gate.entered.wait()
        effects, [waiting] = await sandbox.control.effects(), await sandbox.control.calls()
        gate.open()

    assert (len(effects), waiting.status) == (1, None)
    assert answer.result().status_code == 200
    assert [call.status for call in await sandbox.control.calls()] == [200]


async def test_client_that_gives_up_leaves_the_effect(sandbox: Sandbox, authorize: Authorize, gate: Gate) -> None:
    """A client that stops waiting cancels nothing at the provider."""
    await sandbox.control.fault(Operation.AUTHORIZE, FaultKind.DELAY, seconds=30)
    call = asyncio.create_task(authorize("ORDER-1", key="k"))
    await gate.entered.wait()
    call.cancel()
    await asyncio.wait([call])

    effects = await sandbox.control.effects("ORDER-1")
    gate.open()

    assert call.cancelled()
    assert len(effects) == 1


async def test_rate_limit_says_when_to_come_back(sandbox: Sandbox, authorize: Authorize) -> None:
    """A rate limit is a 429 with Retry-After: one second unless told otherwise."""
    await sandbox.control.fault(Operation.AUTHORIZE, FaultKind.RATE_LIMIT)
    await sandbox.control.fault(Operation.AUTHORIZE, FaultKind.RATE_LIMIT, retry_after=0)

    answers = [await authorize(), await authorize()]

    assert [(a.status_code, a.headers["retry-after"]) for a in answers] == [(429, "1"), (429, "0")]
    assert answers[0].json()["error"]["code"] == "rate_limit"


async def test_calls_are_recorded_with_who_and_what(sandbox: Sandbox, authorize: Authorize) -> None:
    """Every call is written down with its operation, keys, the fault that met it and its status."""
    await sandbox.control.fault(Operation.AUTHORIZE, FaultKind.UNAVAILABLE, status=502)

    await authorize("ORDER-7", key="k", correlation="corr-7")

    [call] = await sandbox.control.calls()
    assert (call.provider, call.operation, call.method, call.path) == (
        Provider.PAYMENTS,
        Operation.AUTHORIZE,
        "POST",
        "/v1/payment_intents",
    )
    assert (call.reference, call.idempotency_key, call.correlation_id) == ("ORDER-7", "k", "corr-7")
    assert (call.fault, call.status) == (FaultKind.UNAVAILABLE, 502)


async def test_effects_are_filtered_by_the_exact_reference(sandbox: Sandbox, authorize: Authorize) -> None:
    """ORDER-1 does not see the effects of ORDER-10."""
    await authorize("ORDER-1")
    await authorize("ORDER-10")

    assert [e.reference for e in await sandbox.control.effects("ORDER-1")] == ["ORDER-1"]
    assert [e.sequence for e in await sandbox.control.effects()] == [1, 2]


async def test_reset_forgets_everything(
    sandbox: Sandbox, http: httpx.AsyncClient, authorize: Authorize, send_mail: SendMail
) -> None:
    """A reset forgets effects, calls, faults, keys, objects and stock levels; ids are not used again."""
    before = (await authorize(key="k")).json()["id"]
    await send_mail()
    await sandbox.control.set_stock("TEA", units=0)
    await sandbox.control.fault(Operation.AUTHORIZE, FaultKind.UNAVAILABLE, times="always")

    await sandbox.control.reset()

    assert (await sandbox.control.effects(), await sandbox.control.calls()) == ([], [])
    assert (await http.get(f"/v1/payment_intents/{before}")).status_code == 404
    after = await authorize(key="k", amount="1")
    assert (after.status_code, after.json()["id"] != before) == (200, True)
    body = {"reference": "ORDER-1", "sku": "TEA", "quantity": 1}
    assert (await http.post("/stock/reservations", json=body)).status_code == 201


async def test_faults_can_be_listed_and_cleared(
    sandbox: Sandbox, http: httpx.AsyncClient, authorize: Authorize
) -> None:
    """An outage without end ends when the script is cleared; effects stay."""
    await authorize()
    await sandbox.control.fault(Operation.AUTHORIZE, FaultKind.UNAVAILABLE, times="always")
    assert (await authorize()).status_code == 503
    assert [fault["fault"] for fault in (await http.get("/_control/faults")).json()] == ["unavailable"]

    await sandbox.control.clear_faults()

    assert (await authorize()).status_code == 200
    assert len(await sandbox.control.effects()) == 2


async def test_faults_are_plain_json(http: httpx.AsyncClient, authorize: Authorize) -> None:
    """A fault can be scripted by anything that speaks HTTP."""
    fault = {
        "provider": "payments",
        "operation": "authorize",
        "match": "ORDER-1",
        "fault": "refuse",
        "times": 2,
    }

    answer = await http.post("/_control/faults", json=fault)

    assert answer.status_code == 201
    assert [(await authorize()).status_code for _ in range(3)] == [402, 402, 200]


async def test_bad_control_requests_are_422(http: httpx.AsyncClient) -> None:
    """A script that makes no sense is refused with the reason, and so is a stock level."""
    fault = await http.post("/_control/faults", json={"provider": "payments"})
    level = await http.put("/_control/stock/TEA", json={"units": -1})

    assert (fault.status_code, level.status_code) == (422, 422)
    assert {tuple(d["loc"]) for d in fault.json()["details"]} == {("operation",), ("fault",)}


async def test_inconsistent_fault_does_not_leave_the_client(sandbox: Sandbox) -> None:
    """The control client refuses what does not fit before it calls, and the endpoint agrees."""
    with pytest.raises(ValidationError, match="goes with 'delay'"):
        await sandbox.control.fault(Operation.SEND, FaultKind.DELAY)

    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as http:
        wrong = {"provider": "smtp", "operation": "send", "fault": "delay"}
        assert (await http.post("/_control/faults", json=wrong)).status_code == 422


async def test_sku_may_be_any_text(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """A sku with slashes and spaces is configured under its own name."""
    await sandbox.control.set_stock("tea/green 1", units=0)

    body = {"reference": "ORDER-1", "sku": "tea/green 1", "quantity": 1}
    assert (await http.post("/stock/reservations", json=body)).status_code == 409


async def test_leaving_the_block_closes_everything() -> None:
    """After the block nobody listens, and a call being served is cut instead of waited for."""
    gate = Gate()
    body = {"reference": "ORDER-1", "sku": "TEA", "quantity": 1}
    async with httpx.AsyncClient(trust_env=False) as http:
        async with Sandbox.start(sleep=gate.sleep) as sandbox:
            await sandbox.control.fault(Operation.RESERVE, FaultKind.DELAY, seconds=30)
            call = asyncio.create_task(http.post(f"{sandbox.url}/stock/reservations", json=body))
            mail, writer = await asyncio.open_connection(sandbox.smtp_host, sandbox.smtp_port)
            assert (await mail.readline()).startswith(b"220")
            await gate.entered.wait()

        with pytest.raises(httpx.RemoteProtocolError):
            await call
    assert await asyncio.wait_for(mail.read(), 60) == b""
    writer.close()
    for port in (httpx.URL(sandbox.url).port, sandbox.smtp_port):
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", port)


async def test_in_process_transport_needs_no_socket() -> None:
    """The same providers serve without a socket, where a dropped connection is httpx's own error."""
    transport = SandboxTransport(SandboxApp())
    async with (
        SandboxControl("http://sandbox", transport=transport) as control,
        httpx.AsyncClient(base_url="http://sandbox", transport=transport) as http,
    ):
        await control.fault(Operation.RESERVE, FaultKind.DROP_REPLY)
        body = {"reference": "ORDER-1", "sku": "TEA", "quantity": 1}

        with pytest.raises(httpx.ReadError, match="after the effect"):
            await http.post("/stock/reservations", json=body)

        assert len(await control.effects("ORDER-1")) == 1


def test_everything_public_is_listed() -> None:
    """`__all__` is sorted and names what the package offers."""
    assert list(public.__all__) == sorted(public.__all__, key=lambda name: (not name.isupper(), name))
    assert all(hasattr(public, name) for name in public.__all__)


@pytest.mark.slow
async def test_command_runs_until_sigterm() -> None:
    """The command prints its addresses as one line of JSON, serves, and ends with code 0 on SIGTERM."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "kit.testing.sandbox", "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    addresses = json.loads(await process.stdout.readline())

    async with SandboxControl(addresses["url"]) as control:
        effects = await control.effects()
    _, writer = await asyncio.open_connection(addresses["smtp_host"], addresses["smtp_port"])
    writer.close()
    process.send_signal(signal.SIGTERM)

    assert effects == []
    assert addresses["pid"] == process.pid
    assert addresses.keys() >= {"webhook_url", "webhook_secret"}
    assert await process.wait() == 0


def test_clients_give_idle_connections_up_first() -> None:
    """The server keeps a connection far longer than httpx does: no request goes out on one that is being closed."""
    given_up = httpx.Limits().keepalive_expiry

    assert given_up is not None
    assert given_up * 10 < KEEP_ALIVE
