"""What workflow code has answered to a history is known, and checked now and then."""

import itertools

import pytest
from temporalio import workflow

from kit.errors import DefinitionError
from kit.testing.engines.simulation.answers import CHECKED, Answer, Answers
from kit.testing.engines.simulation.clock import run_virtually
from kit.testing.engines.simulation.replica import Produced
from kit.testing.engines.simulation.server import SimulatedServer

NUMBERS = itertools.count()


@workflow.defn(sandboxed=False)
class Counts:
    """Looks at what is no part of its history."""

    @workflow.run
    async def run(self, text: str) -> str:
        """Say how often it was asked."""
        return f"{text} {next(NUMBERS)}"

    @workflow.query
    def asked(self) -> int:
        """How often anybody was."""
        return next(NUMBERS)


def result(answers: Answers | None, text: str) -> str:
    """What the workflow returns."""

    async def main() -> str:
        server = SimulatedServer(workflows=[Counts], answers=answers)
        found = await server.start(Counts, text, id="counts").result(type=str)
        server.shutdown()
        return str(found)

    return run_virtually(main())


def test_same_history_is_answered_once() -> None:
    """The workflow's code is not run a second time; for another history it is, and without the memory always."""
    answers = Answers()

    first = result(answers, "one")

    assert result(answers, "one") == first
    assert result(answers, "two") != first.replace("one", "two")
    assert result(None, "one") != first


def test_same_question_is_answered_once() -> None:
    """A query at the same moment of the same history is known, too."""
    answers = Answers()

    async def main() -> list[int]:
        found = []
        for _ in range(2):
            server = SimulatedServer(workflows=[Counts], answers=answers)
            run = server.start(Counts, "asked", id="counts")
            await run.result()
            found.append(run.query(Counts.asked))
            server.shutdown()
        return found

    first, second = run_virtually(main())
    assert first == second


def test_two_answers_to_one_history_are_an_error() -> None:
    """Some of what is known is asked again; workflow code that looks elsewhere is found out by that."""
    key = (Counts, bytes([CHECKED]))
    answers, asked = Answers(), []

    def ask(flag: int) -> Answer:
        asked.append(flag)
        return Answer(Produced([], {}, (), (flag,), 0), None)

    answers.task(key, lambda: ask(1))
    answers.task(key, lambda: ask(1))
    with pytest.raises(DefinitionError, match="'Counts': it answered the same history in two ways"):
        answers.task(key, lambda: ask(2))

    assert asked == [1, 1, 2]
