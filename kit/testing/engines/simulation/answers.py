"""What workflow code has answered to a history: to the same it answers the same, so it is asked once.

A workflow is a function of its history: that is what Temporal asks of it, and what the sweep checks of every distinct
history by a replay. Most scenarios of a sweep differ in what the providers did, and for most of its length a run's
history is one that another run has had before it. There the commands are known, and the worker's copy of the run is
left behind; it reads up on what it has missed when it is asked for something new.

It is not taken for granted: of the answers that are known, one in `CHECKED` is asked for all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kit.errors import DefinitionError
from kit.testing.engines.simulation.replica import Produced

CHECKED: Final = 64
"""Of so many histories whose answer is known one is answered anew each time, and must be answered the same."""

MOST: Final = 20_000
"""After so many histories, and so many questions, the memory begins anew: it is bounded whatever a sweep's size."""

Key = tuple[Any, ...]
"""The workflow's class, the digest of a history, and what was asked besides."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one workflow task.

    Attributes:
        produced: For the server.
        line: The line of code that awaits something afterwards.
    """

    produced: Produced
    line: str | None


@dataclass(slots=True)
class Answers:
    """The answers of the workflows of one engine."""

    _tasks: dict[Key, Answer] = field(default_factory=dict)
    _queries: dict[Key, Any] = field(default_factory=dict)

    def task(self, key: Key, ask: Callable[[], Answer]) -> Answer:
        """What comes of a workflow task; workflow code is only asked if it is not known.

        Raises:
            DefinitionError: It was asked twice, and gave two answers.
        """
        known = self._tasks.get(key)
        if known is None:
            answer = ask()
            _remember(self._tasks, key, replace(answer, produced=_copied(answer.produced)))
            return answer
        if _checked(key) and (again := ask()).produced != known.produced:
            raise DefinitionError(
                f"workflow {key[0].__name__!r}",
                rule="it answered the same history in two ways, so it depends on something besides: "
                f"{known.produced.commands} against {again.produced.commands}",
                fix="let the workflow's code look at nothing but its arguments and the results it is given",
            )
        return replace(known, produced=_copied(known.produced))

    def query(self, key: Key, ask: Callable[[], Any]) -> Any:
        """The answer to a question; workflow code is only asked if it is not known."""
        if key not in self._queries:
            _remember(self._queries, key, ask())
        return self._queries[key]


def _remember(answers: dict[Key, Any], key: Key, answer: Any) -> None:
    if len(answers) >= MOST:
        answers.clear()
    answers[key] = answer


def _copied(produced: Produced) -> Produced:
    """With replies of its own: they are taken from it."""
    return replace(produced, replies=dict(produced.replies))


def _checked(key: Key) -> bool:
    digest: bytes = key[1]
    return digest[0] % CHECKED == 0
