"""Webhook intake: a small ASGI application between the senders of events and the workflows that take them.

::

    app = intake(
        connect,
        task_queue="orders",
        endpoints=[Endpoint("/webhooks/crm", secrets=("whsec_...",), route=account_changed)],
    )

What it answers, and why a sender may rely on it:

| answer | when |
|---|---|
| 200 ``accepted`` | the event is durable: Temporal has it; whether a worker is up makes no difference |
| 200 ``duplicate`` | the run of this event has been started before |
| 200 ``ignored`` | the route has no use for it |
| 400 ``stale`` | signed, but for a time more than five minutes from now |
| 401 ``bad_signature`` | not signed with a secret of this endpoint |
| 413 ``oversize`` | the body is larger than allowed; it is not read to its end |
| 422 ``unreadable`` | signed, and no event that the route can read: sending it again does not help |
| 503 ``unavailable`` | Temporal cannot be reached, or a hold refuses the start: send it again |

An event that comes twice never makes a second run: a run is named by its event, and an entity knows the events it has
had; it counts those that come again.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from pydantic import ValidationError
from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.service import RPCError

from kit.errors import DefinitionError, StartHeld
from kit.operate.delivering import deliver
from kit.operate.signatures import TOLERANCE, BadSignature, Signatures, StaleTimestamp
from kit.operate.starting import start_once
from kit.telemetry import Event, count, names, process_log
from kit.workflow import Entity, EntityEvent

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

LARGEST: Final = 256 * 1024
"""The most bytes of a body when nothing is said. Temporal takes 2 MB for an event, and no webhook needs that."""

RETRY_AFTER: Final = timedelta(seconds=5)
"""When a sender is asked to send again what could not be taken."""

_log: Final = process_log("kit.operate")


class Unreadable(ValueError):
    """Raised by a route: the body is no event it can read, and never will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One verified delivery.

    Attributes:
        id: The sender's id of the message: the same however often it is sent.
        body: The JSON document.
    """

    id: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToEntity:
    """A change event for an entity, which is started if need be.

    Attributes:
        run: The entity's run method.
        entity: What it begins with when it is not there.
        event: The change.
        id: The entity's workflow id.
    """

    run: Callable[[Any, Any], Any]
    entity: Entity[Any]
    event: EntityEvent[Any]
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToRun:
    """A business event that has a run of its own.

    Attributes:
        run: The workflow's run method.
        request: Its argument.
        id: The workflow id, built from the event's.
    """

    run: Callable[[Any, Any], Any]
    request: Any
    id: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one sender delivers.

    Attributes:
        path: Of the URL.
        secrets: Shared with the sender, as ``whsec_<base64>``; several while one is being replaced.
        route: Says what a delivery is to do; ``None`` when it is of no use here. Raises `Unreadable`, or pydantic's
            ``ValidationError``, for what it cannot read.
        tolerance: How far a timestamp may be from now.
    """

    path: str
    secrets: tuple[str, ...]
    route: Callable[[Delivery], ToEntity | ToRun | None]
    tolerance: timedelta = TOLERANCE


class Answer(StrEnum):
    """What becomes of a delivery; a closed vocabulary, and the metric's label."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    STALE = "stale"
    BAD_SIGNATURE = "bad_signature"
    OVERSIZE = "oversize"
    UNREADABLE = "unreadable"
    UNAVAILABLE = "unavailable"


_STATUS: Final = {
    Answer.ACCEPTED: 200,
    Answer.DUPLICATE: 200,
    Answer.IGNORED: 200,
    Answer.STALE: 400,
    Answer.BAD_SIGNATURE: 401,
    Answer.OVERSIZE: 413,
    Answer.UNREADABLE: 422,
    Answer.UNAVAILABLE: 503,
}


def intake(
    client: Client,
    *,
    task_queue: str,
    endpoints: Iterable[Endpoint],
    largest: int = LARGEST,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    timeout: timedelta = timedelta(seconds=10),
) -> ASGIApp:
    """An ASGI application that takes signed webhooks and hands their events to workflows.

    Args:
        client: A client with the kit's plugin. One that was connected with ``lazy=True`` lets the application start,
            and answer 503, while Temporal cannot be reached.
        task_queue: Where the service's workers take their tasks from.
        endpoints: One for each sender.
        largest: The most bytes of a body.
        now: The clock that timestamps are compared with.
        timeout: How long Temporal has to answer.

    Raises:
        DefinitionError: Two endpoints share a path, or a secret is none.
    """
    return _Intake(client, task_queue, tuple(endpoints), largest, now, timeout)


class _Intake:
    def __init__(
        self,
        client: Client,
        task_queue: str,
        endpoints: tuple[Endpoint, ...],
        largest: int,
        now: Callable[[], datetime],
        timeout: timedelta,
    ) -> None:
        self._client = client
        self._task_queue = task_queue
        self._timeout = timeout
        self._largest = largest
        self._now = now
        self._endpoints: dict[str, tuple[Endpoint, Signatures]] = {}
        for each in endpoints:
            if each.path in self._endpoints or not each.path.startswith("/"):
                raise DefinitionError(
                    "intake",
                    rule=f"path {each.path!r} is another endpoint's, or does not begin with a slash",
                    fix="give every sender a path of its own, such as '/webhooks/crm'",
                )
            self._endpoints[each.path] = each, Signatures(each.secrets, tolerance=each.tolerance)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the start and the end of the server."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"webhooks come by HTTP, not by {scope['type']!r}")
        found = self._endpoints.get(scope["path"])
        if found is None or scope["method"] != "POST":
            await _reply(send, 404 if found is None else 405, "not_found" if found is None else "method_not_allowed")
            return
        answer = await self._take(*found, scope, receive)
        await _reply(send, _STATUS[answer], answer.value)

    async def _take(self, endpoint: Endpoint, signatures: Signatures, scope: Scope, receive: Receive) -> Answer:
        message_id, why = "", ""
        try:
            body = await _body(receive, largest=self._largest)
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            message_id = signatures.verify(headers, body, now=self._now())
            answer = await self._hand_on(endpoint, message_id, body)
        except _Oversize:
            answer = Answer.OVERSIZE
        except BadSignature as error:
            answer, why = Answer.BAD_SIGNATURE, str(error)
        except StaleTimestamp as error:
            answer, why = Answer.STALE, str(error)
        except (Unreadable, ValidationError) as error:
            answer, why = Answer.UNREADABLE, _without_values(error)
        except _Unreachable as error:
            answer, why = Answer.UNAVAILABLE, str(error)
        self._tell(endpoint, answer, message_id, why)
        return answer

    async def _hand_on(self, endpoint: Endpoint, message_id: str, body: bytes) -> Answer:
        try:
            document = json.loads(body)
        except ValueError as error:
            raise Unreadable("the body is no JSON") from error
        if not isinstance(document, dict):
            raise Unreadable("the body is no JSON object")
        target = endpoint.route(Delivery(id=message_id, body=document))
        if target is None:
            return Answer.IGNORED
        try:
            return await self._start(target)
        except (RPCError, StartHeld, RuntimeError) as error:  # RuntimeError: a lazy client that cannot connect
            raise _Unreachable(str(error)) from error

    async def _start(self, target: ToEntity | ToRun) -> Answer:
        """Make the event durable."""
        client, queue, timeout = self._client, self._task_queue, self._timeout
        if isinstance(target, ToEntity):
            entity, event = target.entity, target.event
            await deliver(client, target.run, entity, event, id=target.id, task_queue=queue, rpc_timeout=timeout)
            return Answer.ACCEPTED
        run, request = target.run, target.request
        started = await start_once(client, run, request, id=target.id, task_queue=queue, rpc_timeout=timeout)
        return Answer.DUPLICATE if started.duplicate else Answer.ACCEPTED

    def _tell(self, endpoint: Endpoint, answer: Answer, message_id: str, why: str) -> None:
        runtime = self._client.service_client.config.runtime or Runtime.default()
        count(runtime.metric_meter, names.INTAKE, endpoint=endpoint.path, answer=answer.value)
        path, value = endpoint.path, answer.value
        if _STATUS[answer] == _STATUS[Answer.ACCEPTED]:
            _log.info(Event.INTAKE_TAKEN, endpoint=path, webhook_id=message_id, answer=value)
        else:
            _log.warning(Event.INTAKE_REFUSED, endpoint=path, webhook_id=message_id, answer=value, why=why)


class _Oversize(Exception):
    """The body is too large."""


class _Unreachable(Exception):
    """Whether the event was taken in is unknown, or it was not: in either case it may be sent again."""


async def _body(receive: Receive, *, largest: int) -> bytes:
    """The whole body, unless it is too large: then no more of it is kept."""
    chunks, size = list[bytes](), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Unreadable("the sender went away")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > largest:
            raise _Oversize
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _without_values(error: ValueError) -> str:
    """What is wrong with a body, without what is in it: that may be personal."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
    return str(error)


async def _reply(send: Send, status: int, answer: str) -> None:
    body = json.dumps({"status": answer}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == _STATUS[Answer.UNAVAILABLE]:
        headers.append((b"retry-after", str(int(RETRY_AFTER.total_seconds())).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _live(receive: Receive, send: Send) -> None:
    """The server starts and stops; there is nothing to open and nothing to close."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
