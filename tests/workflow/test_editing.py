"""Steps that are tried again with another request: a key of their own, and an original that can do no harm."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.testing import WorkflowEnvironment

from kit import Choice, Decision
from kit.ledger.states import State
from kit.workflow import COMPENSATED, DECIDE_UPDATE, SUMMARY_QUERY, RunSummary, Task
from tests.workflow.approvals import Asks
from tests.workflow.scene import Run, Scene, scene
from tests.workflow.world import Ask, Fault, World, bug, declined, vanished

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

EDITS = {"note": "another card"}


async def test_a_refused_step_is_tried_with_another_request(server: WorkflowEnvironment, world: World) -> None:
    """The edited request has a key of its own and names the step it replaces; the original can never happen again."""
    world.provider.script("card.charge", declined())

    async with scene(server, world) as travel:
        run = await travel.start("pivot car", "step card")
        task = await travel.decide(run, Choice.RETRY, edits=EDITS)
        ended = await travel.end(run)
        summary = await run.query(SUMMARY_QUERY, result_type=RunSummary)

    assert (task.editable, task.request) == (("note",), {"note": ""})
    assert ended.activities == ["car.book", "card.charge", "card.charge.undo", "card.charge"]
    assert ended.rows == {"car:1": State.DONE, "card:1": State.VOID, "card:1:edit-2": State.DONE}
    assert world.provider.story == ["+car:1", "+card:1:edit-2"]
    assert [(step["key"], step["undo"], step.get("replaces")) for step in summary.steps[1:]] == [
        ("card:1", "nothing", None),
        ("card:1:edit-2", "none", 2),
    ]


async def test_each_edition_has_its_own_key(server: WorkflowEnvironment, world: World) -> None:
    """Edited again, also back to what it was, the request never meets a key that was used."""
    world.provider.script("card.charge", declined(), declined(), declined())

    async with scene(server, world) as travel:
        run = await travel.start("pivot car", "step card")
        for number, note in enumerate(("b", "", "c"), 1):
            await travel.decide(run, Choice.RETRY, number=number, edits={"note": note})
        ended = await travel.end(run)

    assert world.provider.live == {"car:1": 1, "card:1:edit-4": 1}
    assert [ended.rows[f"card:1{end}"] for end in ("", ":edit-2", ":edit-3")] == [State.VOID] * 3


async def test_an_edited_field_of_the_key_makes_the_key(server: WorkflowEnvironment, world: World) -> None:
    """Where the template names the edited field the business's own key is used; after the commit as well."""
    world.provider.script("mail.send", declined())

    async with scene(server, world) as travel:
        run = await travel.start("step car", "after mail")
        await travel.decide(run, Choice.RETRY, edits={"id": "2"})
        ended = await travel.end(run)

    assert ended.closed_as == "COMPLETED"
    assert world.provider.live == {"car:1": 1, "mail:2": 1}
    assert ended.rows["mail:1"] is State.VOID


@pytest.mark.parametrize("plain_first", [True, False])
async def test_two_runs_about_one_thing_have_one_effect_between_them(
    server: WorkflowEnvironment, world: World, plain_first: bool
) -> None:
    """One is tried again as it is, the other with another request: whoever comes second has no second effect."""
    world.provider.script("card.charge", declined(), declined())

    async with scene(server, world) as travel:
        edited = await travel.start("pivot car", "step card")
        await travel.task(edited)
        plain = await travel.start("pivot car", "step card")
        await travel.task(plain)
        if plain_first:
            await travel.decide(plain, Choice.RETRY)
            await travel.end(plain)
            await travel.decide(edited, Choice.RETRY, edits=EDITS)
            await travel.decide(edited, Choice.RETRY, number=2)
            ended = await travel.end(edited)
        else:
            await travel.decide(edited, Choice.RETRY, edits=EDITS)
            ended = await travel.end(edited)
            await travel.decide(plain, Choice.RETRY)
            refused = await travel.task(plain, number=2)
            await plain.terminate()

    assert ended.closed_as == "COMPLETED"
    assert world.provider.live == {"car:1": 1, "card:1" if plain_first else "card:1:edit-2": 1}
    if not plain_first:
        assert refused.failure is not None
        assert refused.failure.reason == "after_undo"


async def test_an_original_that_may_have_happened_is_undone_first(
    server: WorkflowEnvironment, world: World, cached: bool
) -> None:
    """It did happen, and nobody knew: it is looked up and taken back before the edited request goes out."""
    world.provider.script("hotel.book", Fault(after=KeyError("amount")))
    world.provider.script("hotel.book.probe", *(bug() for _ in range(2)))

    async with scene(server, world, cached=cached) as travel:
        run = await travel.start("pivot car", "step hotel")
        await travel.decide(run, Choice.RETRY, edits=EDITS)
        ended = await travel.end(run)

    assert world.provider.story == ["+car:1", "+hotel:1", "-hotel:1", "+hotel:1:edit-2"]
    assert ended.rows == {"car:1": State.DONE, "hotel:1": State.UNDONE, "hotel:1:edit-2": State.DONE}


async def test_nothing_new_is_tried_while_the_original_stands(server: WorkflowEnvironment, world: World) -> None:
    """An original that cannot be undone is asked about again; a plain retry then means the same edits."""
    world.provider.script("hotel.book", Fault(after=KeyError("amount")))
    world.provider.script("hotel.book.probe", *(bug() for _ in range(2)))
    world.provider.script("hotel.book.undo", declined())

    async with scene(server, world) as travel:
        run = await travel.start("pivot car", "step hotel")
        await travel.decide(run, Choice.RETRY, edits=EDITS)
        again = await travel.task(run, number=2)
        meanwhile = world.provider.live
        await travel.decide(run, Choice.RETRY, number=2)
        ended = await travel.end(run)

    assert again.question.startswith(
        "“Book the hotel of 1” must have no effect before it is tried with other arguments, which fails: declined "
    )
    assert meanwhile == {"car:1": 1, "hotel:1": 1}
    assert world.provider.live == {"car:1": 1, "hotel:1:edit-2": 1}
    assert ended.closed_as == "COMPLETED"


async def test_giving_up_instead_undoes_the_original(server: WorkflowEnvironment, world: World) -> None:
    """After an undo that failed under an edit, "unwind" goes on with that undo."""
    world.provider.script("hotel.book", Fault(after=KeyError("amount")))
    world.provider.script("hotel.book.probe", *(bug() for _ in range(2)))
    world.provider.script("hotel.book.undo", declined())

    async with scene(server, world) as travel:
        run = await travel.start("pivot car", "step hotel")
        await travel.decide(run, Choice.RETRY, edits=EDITS)
        await travel.decide(run, Choice.UNWIND, number=2)
        ended = await travel.end(run)

    assert ended.type == COMPENSATED
    assert world.provider.live == {}
    assert ended.rows == {"car:1": State.UNDONE, "hotel:1": State.UNDONE}


async def test_where_only_a_person_can_know_their_word_settles_the_original(
    server: WorkflowEnvironment, world: World
) -> None:
    """Who retries what never happens twice says that it did not happen: the original becomes void."""
    world.provider.script("fax.send", vanished())

    async with scene(server, world) as travel:
        run = await travel.start("pivot car", "step fax")
        await travel.decide(run, Choice.RETRY, edits=EDITS)
        ended = await travel.end(run)

    assert ended.activities == ["car.book", "fax.send", "kit.record_decision", "fax.send.undo", "fax.send"]
    assert ended.rows == {"car:1": State.DONE, "fax:1": State.VOID, "fax:1:edit-2": State.DONE}


async def test_the_edited_step_is_undone_in_the_place_of_its_original(
    server: WorkflowEnvironment, world: World
) -> None:
    """When the saga turns round later the edited effect is taken back, and the original is left alone."""
    world.provider.script("fax.send", vanished())
    world.provider.script("card.charge", declined())

    async with scene(server, world) as travel:
        run = await travel.start("step car", "step fax", "step card")
        await travel.decide(run, Choice.RETRY, edits=EDITS)
        ended = await travel.end(run)

    assert ended.type == COMPENSATED
    assert world.provider.story == ["+car:1", "+fax:1:edit-2", "-fax:1:edit-2", "-car:1"]


async def test_edits_must_fit(server: WorkflowEnvironment, world: World) -> None:
    """Only what the operation lists, only for a retry, only what validates and is another request."""
    world.provider.script("card.charge", declined())

    async with scene(server, world) as travel:
        run = await travel.start("pivot car", "step card")
        task = await travel.task(run)
        said = [
            await _refused(travel, run, task, choice=choice, edits=edits)
            for choice, edits in (
                (Choice.RETRY, {"id": "2"}),
                (Choice.RETRY, {}),
                (Choice.RETRY, {"note": ""}),
                (Choice.RETRY, {"note": 7}),
                (Choice.UNWIND, EDITS),
            )
        ]
        await travel.decide(run, Choice.RETRY)
        ended = await travel.end(run)

    assert said[0] == "ValueError: id cannot be edited in card.charge; note can"
    assert said[1] == "ValueError: no field cannot be edited in card.charge; note can"
    assert said[2] == "ValueError: {'note': ''} changes nothing; to try the same again, retry without edits"
    assert said[3].startswith("ValueError: {'note': 7} makes no Ask: 1 validation error for Ask\n")
    assert said[4] == "ValueError: edits go with 'retry', not with 'unwind'"
    assert ended.activities == ["car.book", "card.charge", "card.charge"]


async def test_what_was_approved_cannot_be_edited(server: WorkflowEnvironment, world: World) -> None:
    """An approval is for exact arguments: a step that has used one is tried again as it is, or not at all."""
    world.provider.script("card.charge", *(bug() for _ in range(3)))

    async with scene(server, world, workflows=[Asks]) as travel:
        with server.with_time_skipping_disabled():
            run = await travel.worker.start(Asks.run, Ask(id="1", note="pivot"))
        await travel.decide(run, Choice.APPROVE)
        await server.fast_forward(run, timedelta(hours=1))  # past the pauses between attempts
        task = await travel.task(run, number=2)
        said = await _refused(travel, run, task, choice=Choice.RETRY, edits=EDITS)
        await travel.decide(run, Choice.RETRY, number=2)
        ended = await travel.end(run)

    assert task.editable == ()
    assert said == "ValueError: note cannot be edited in card.charge; nothing can"
    assert ended.closed_as == "COMPLETED"
    assert world.provider.live == {"card:1": 1, "flight:1": 1}


async def _refused(travel: Scene, run: Run, task: Task, **decision: Any) -> str:
    answer = Decision(**{"task_id": task.id, "who": "ada", "why": "because", **decision})
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        await run.execute_update(DECIDE_UPDATE, answer, result_type=Task)
    return str(caught.value.cause)
