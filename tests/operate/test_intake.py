"""The webhook intake: who is believed, what is answered, and that an event comes in once."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from kit import Entity, EntityEvent
from kit.errors import DefinitionError
from kit.operate import Delivery, Endpoint, ToEntity, ToRun, Unreadable, intake
from kit.operate.signatures import BadSignature, Signatures
from kit.worker import ReliabilityPlugin
from kit.workflow import ENTITY_QUERY, Fate
from tests.harness import running
from tests.workflow.entities import Asks, Change, Diary
from tests.workflow.sagas import Plan, Travel
from tests.workflow.world import World

SECRET = "whsec_" + b64encode(b"a secret of thirty-two bytes ...").decode()
OLD = "whsec_" + b64encode(b"the secret that was before this ").decode()
STRANGER = "whsec_" + b64encode(b"a secret that nobody here knows ").decode()
PATH = "/webhooks/desk"


def route(delivery: Delivery) -> ToEntity | ToRun | None:
    """Notes for guests, trips to be booked, and what is of no use."""
    match delivery.body:
        case {"type": "note", "guest": str(guest), "note": str(note)}:
            event = EntityEvent[Change](id=delivery.id, source="desk", data=Change(note=note))
            return ToEntity(run=Asks.run, entity=Entity(state=Diary()), event=event, id=guest)
        case {"type": "trip", "trip": str(trip)}:
            return ToRun(run=Travel.run, request=Plan(id=trip, lines=("step hotel",)), id=trip)
        case {"type": "news"}:
            return None
        case _:
            raise Unreadable("neither a note nor a trip")


ENDPOINT = Endpoint(PATH, secrets=(SECRET, OLD), route=route)


def signed(document: Any, *, id: str = "msg_1", secret: str = SECRET, age: timedelta = timedelta(0)) -> httpx.Request:
    """A delivery, signed by the specification's own library."""
    body = document if isinstance(document, str) else json.dumps(document)
    at = datetime.now(UTC) - age
    headers = {
        "webhook-id": id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(id, at, body),
    }
    return httpx.Request("POST", f"http://intake.test{PATH}", content=body.encode(), headers=headers)


async def answer(client: Client, request: httpx.Request, *, task_queue: str = "none") -> tuple[int, str]:
    """What the intake answers."""
    app = intake(client, task_queue=task_queue, endpoints=[ENDPOINT], largest=1000, timeout=timedelta(seconds=2))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as sender:
        reply = await sender.send(request)
    return reply.status_code, reply.json()["status"]


async def nowhere() -> Client:
    """A client whose server does not answer: what is answered without it needs none."""
    return await Client.connect("127.0.0.1:1", lazy=True, plugins=[ReliabilityPlugin()])


NOTE = {"type": "note", "guest": "guest-1", "note": "hello"}


@pytest.mark.parametrize(
    ("document", "how", "wanted"),
    [
        (NOTE, {"secret": STRANGER}, (401, "bad_signature")),
        (NOTE, {"secret": OLD, "age": timedelta(minutes=6)}, (400, "stale")),
        (NOTE, {"age": timedelta(minutes=-6)}, (400, "stale")),
        ("x" * 1001, {}, (413, "oversize")),
        ("no json", {}, (422, "unreadable")),
        (["no", "object"], {}, (422, "unreadable")),
        ({"type": "unknown"}, {}, (422, "unreadable")),
        ({"type": "note", "guest": "guest-1", "note": 7}, {}, (422, "unreadable")),
        ({"type": "news"}, {}, (200, "ignored")),
        (NOTE, {}, (503, "unavailable")),
        (NOTE, {"secret": OLD}, (503, "unavailable")),
    ],
)
async def test_what_is_refused_and_what_is_tried(document: Any, how: dict[str, Any], wanted: tuple[int, str]) -> None:
    """Only what is signed, fresh, small and readable reaches Temporal; without Temporal nothing is ever accepted."""
    assert await answer(await nowhere(), signed(document, **how)) == wanted


@pytest.mark.parametrize("change", ["body", "webhook-id", "webhook-timestamp", "webhook-signature"])
async def test_whatever_is_changed_breaks_the_signature(change: str) -> None:
    """Body, id and time are what is signed: a delivery with another one, or without its signature, is nobody's."""
    request = signed(NOTE)
    headers = {name: value for name, value in request.headers.items() if name != change}
    if change.endswith("id"):
        headers[change] = "msg_2"
    if change.endswith("timestamp"):
        headers[change] = str(int(request.headers[change]) + 1)
    body = request.content + (b" " if change == "body" else b"")

    changed = httpx.Request("POST", request.url, content=body, headers={**headers, "content-length": str(len(body))})

    assert (await answer(await nowhere(), changed))[0] == 401


async def test_other_paths_and_methods_are_no_webhooks() -> None:
    """A path that is no endpoint is not found, and only POST delivers."""
    elsewhere = httpx.Request("POST", "http://intake.test/elsewhere")
    read = httpx.Request("GET", f"http://intake.test{PATH}")

    answers = [await answer(await nowhere(), request) for request in (elsewhere, read)]

    assert answers == [(404, "not_found"), (405, "method_not_allowed")]


@pytest.mark.parametrize("secrets", [(), ("whsec_",), ("whsec_c2hvcnQ=",), (SECRET, "no base64!")])
def test_secret_that_is_none_is_refused(secrets: tuple[str, ...]) -> None:
    """Without a secret of at least 24 bytes anybody could send; the error does not show what was given."""
    with pytest.raises(DefinitionError, match=r"secret") as refused:
        Signatures(secrets)

    assert not any(len(secret) > 6 and secret in str(refused.value) for secret in secrets)


def test_signature_among_others_is_enough() -> None:
    """A header with several signatures is believed when one of them fits; versions that are not known fit nothing."""
    request = signed(NOTE)
    headers = dict(request.headers)
    good = headers["webhook-signature"]
    check = Signatures([OLD, SECRET])

    verified = check.verify(
        {**headers, "webhook-signature": f"v1,!! v1,AAAA {good}"}, request.content, now=datetime.now(UTC)
    )

    assert verified == "msg_1"
    with pytest.raises(BadSignature):
        check.verify({**headers, "webhook-signature": good.replace("v1", "v9")}, request.content, now=datetime.now(UTC))


@pytest.mark.slow
async def test_event_that_comes_twice_is_applied_once(server: WorkflowEnvironment) -> None:
    """Both deliveries are answered 200; the entity is one, has applied the event once, and has counted the other."""
    async with running(server, World().plugin, [Asks, Travel]) as worker:
        guest = f"guest-{worker.task_queue}"
        note = {**NOTE, "guest": guest}

        first = await answer(worker.client, signed(note), task_queue=worker.task_queue)
        second = await answer(worker.client, signed(note), task_queue=worker.task_queue)
        other = await answer(worker.client, signed({**note, "note": "bye"}, id="msg_2"), task_queue=worker.task_queue)
        handle = worker.client.get_workflow_handle(guest)
        entity: Entity[Diary] = await handle.query(ENTITY_QUERY, result_type=Entity[Diary])
        await handle.cancel()

    assert first == second == other == (200, "accepted")
    assert entity.state == Diary(notes=("hello", "bye"))
    assert entity.memory.counts == {"applied": 2, "duplicate": 1}
    assert entity.memory.seen == {"msg_1": Fate.APPLIED, "msg_2": Fate.APPLIED}


@pytest.mark.slow
async def test_run_of_an_event_is_started_once(server: WorkflowEnvironment) -> None:
    """The second delivery of an event with a run of its own is answered 200, as the duplicate that it is."""
    world = World()
    async with running(server, world.plugin, [Travel]) as worker:
        trip = {"type": "trip", "trip": f"trip-{worker.task_queue}"}

        first = await answer(worker.client, signed(trip), task_queue=worker.task_queue)
        second = await answer(worker.client, signed(trip), task_queue=worker.task_queue)
        await worker.client.get_workflow_handle(trip["trip"]).result()

    assert (first, second) == ((200, "accepted"), (200, "duplicate"))
    assert sum(world.provider.live.values()) == 1


@pytest.mark.slow
async def test_event_is_durable_before_any_worker_is_up(server: WorkflowEnvironment) -> None:
    """An accepted event waits in Temporal: a worker that comes later applies it."""
    world = World()
    config = server.client.config()
    config["plugins"] = [ReliabilityPlugin()]
    queue = "intake-before-worker"

    accepted = await answer(Client(**config), signed({**NOTE, "guest": queue}), task_queue=queue)
    async with running(server, world.plugin, [Asks], task_queue=queue) as worker:
        handle = worker.client.get_workflow_handle(queue)
        entity: Entity[Diary] = await handle.query(ENTITY_QUERY, result_type=Entity[Diary])
        await handle.cancel()

    assert accepted == (200, "accepted")
    assert entity.state == Diary(notes=("hello",))
