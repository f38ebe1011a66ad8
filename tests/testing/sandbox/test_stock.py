"""Stock has no idempotency keys; it has a look-up."""

import httpx
import pytest

from kit.testing.sandbox import EffectKind, FaultKind, Operation, Sandbox, live_effects

PATH = "/stock/reservations"
BODY = {"reference": "ORDER-1", "sku": "TEA", "quantity": 2}


async def test_every_post_reserves_again(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """The same request twice is two reservations, key or no key: this provider knows no repetition."""
    answers = [await http.post(PATH, json=BODY, headers={"Idempotency-Key": "k"}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] != answers[1].json()["id"]
    effects = await sandbox.control.effects("ORDER-1")
    assert [(e.kind, e.quantity, e.details["sku"]) for e in effects] == [(EffectKind.RESERVED, 2, "TEA")] * 2


async def test_lookup_finds_what_stands(http: httpx.AsyncClient) -> None:
    """The look-up returns the reservations of exactly that reference, and none that was released."""
    first = (await http.post(PATH, json=BODY)).json()
    second = (await http.post(PATH, json=BODY)).json()
    await http.post(PATH, json={**BODY, "reference": "ORDER-10"})
    await http.delete(f"{PATH}/{first['id']}")

    answer = await http.get(PATH, params={"reference": "ORDER-1"})

    assert answer.json() == {"reservations": [second]}


async def test_release_gives_the_units_back_once(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """Releasing frees the units; releasing again is a 404 and no effect."""
    await sandbox.control.set_stock("TEA", units=2)
    reservation_id = (await http.post(PATH, json=BODY)).json()["id"]

    answers = [await http.delete(f"{PATH}/{reservation_id}") for _ in range(2)]
    anew = await http.post(PATH, json=BODY)

    assert [answer.status_code for answer in answers] == [204, 404]
    assert anew.status_code == 201
    effects = await sandbox.control.effects()
    assert [e.kind for e in effects] == [EffectKind.RESERVED, EffectKind.RELEASED, EffectKind.RESERVED]
    assert [e.live for e in effects] == [False, False, True]


async def test_empty_shelf_is_a_409(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """A reservation above the configured level is refused as a whole."""
    await sandbox.control.set_stock("TEA", units=3)

    answers = [await http.post(PATH, json=BODY) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 409]
    assert answers[1].json() == {"error": "out_of_stock", "sku": "TEA"}
    assert len(await sandbox.control.effects()) == 1


@pytest.mark.parametrize(
    "body",
    [{}, {**BODY, "quantity": 0}, {**BODY, "quantity": "2"}, {**BODY, "reference": ""}, {**BODY, "more": 1}],
)
async def test_bad_input_is_a_422(sandbox: Sandbox, http: httpx.AsyncClient, body: dict[str, object]) -> None:
    """A malformed reservation is a 422 with the details, it is logged, and nothing is reserved."""
    answer = await http.post(PATH, json=body)

    assert (answer.status_code, answer.json()["error"]) == (422, "invalid")
    assert await sandbox.control.effects() == []
    [call] = await sandbox.control.calls()
    assert (call.operation, call.status) == (Operation.RESERVE, 422)


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        (FaultKind.REFUSE, 409, "out_of_stock"),
        (FaultKind.UNAVAILABLE, 503, "unavailable"),
        (FaultKind.RATE_LIMIT, 429, "rate_limited"),
    ],
)
async def test_faults_before_the_effect_reserve_nothing(
    sandbox: Sandbox, http: httpx.AsyncClient, kind: FaultKind, status: int, error: str
) -> None:
    """A refusal, an outage and a rate limit leave no reservation behind."""
    await sandbox.control.fault(Operation.RESERVE, kind)

    answer = await http.post(PATH, json=BODY)

    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert await sandbox.control.effects() == []


async def test_faults_after_the_effect_reserve(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """A 500 that comes after the reservation leaves it standing, to be found by the look-up."""
    await sandbox.control.fault(Operation.RESERVE, FaultKind.ERROR_AFTER)

    answer = await http.post(PATH, json=BODY)
    found = await http.get(PATH, params={"reference": "ORDER-1"})

    assert answer.status_code == 500
    assert len(found.json()["reservations"]) == 1


async def test_release_can_be_refused(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """An undo can be refused: the reservation stays, and the fault is matched by the order it belongs to."""
    reservation_id = (await http.post(PATH, json=BODY)).json()["id"]
    await sandbox.control.fault(Operation.RELEASE, FaultKind.REFUSE, match="ORDER-1")

    answer = await http.delete(f"{PATH}/{reservation_id}")

    assert answer.status_code == 403
    assert len(live_effects(await sandbox.control.effects(), "ORDER-1")) == 1


async def test_lookup_can_fail(sandbox: Sandbox, http: httpx.AsyncClient) -> None:
    """A look-up can fail like any other call; a status of choice is used."""
    await sandbox.control.fault(Operation.LOOKUP, FaultKind.UNAVAILABLE, status=502, retry_after=7)

    answer = await http.get(PATH, params={"reference": "ORDER-1"})

    assert (answer.status_code, answer.headers["retry-after"]) == (502, "7")
