"""Runs written by hand, for what no saga and no connector can be made to do: a shop that sells and wraps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from temporalio import workflow

from kit import Dependency, Effect, Model, Once, Operation, SagaWorkflow
from kit.contract import FailureDetails, FailureKind, Outcome, Retry, Token, Undo
from kit.ledger import Entry, State
from kit.testing import Ending, Run, Scenario, Subject, Truth, Wire, World
from kit.testing.invariants import judge
from kit.worker import Connector
from kit.workflow import Choice, Decision, RunSummary, Status, Task
from kit.workflow.steps import Phase, UndoState

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
LOST: Final = Scenario.parse("shop.sell#1:replies_lost")


class Ask(Model):
    """What every operation is asked."""

    id: str


def operation(
    name: str = "shop.sell",
    *,
    effect: Effect = Effect.COMPENSATABLE,
    retry: dict[FailureKind, Retry] | None = None,
) -> Operation[Ask, Ask]:
    """An operation of the shop."""
    shop = Dependency(name="shop", owner="team", settle=timedelta(0), retry=retry or {})
    key = f"{name.partition('.')[2]}:{{id}}"
    return Operation(
        name,
        Ask,
        Ask,
        dependency=shop,
        effect=effect,
        once=Once.by_state(),
        key=key,
        timeout=timedelta(seconds=1),
    )


SELL: Final = operation()
WRAP: Final = operation("shop.wrap")
MAIL: Final = operation("shop.mail", effect=Effect.IRREVERSIBLE)


def connector(served: Operation[Ask, Ask]) -> Connector:
    """A connector that nobody calls."""

    class Shop(Connector):
        @served.action
        async def act(self, request: Ask, token: Token) -> Ask:
            raise NotImplementedError

        if served.effect.undoable:

            @served.compensation
            async def undo(self, undo: Undo[Ask, Ask], token: Token) -> None:
                raise NotImplementedError

    return Shop()


class Shop(World):
    """Has the operations that it is given."""

    def __init__(self, operations: Iterable[Operation[Ask, Ask]]) -> None:
        controls: Any = None
        super().__init__(Wire(Scenario(), controls))
        self._operations = tuple(operations)

    def connect(self) -> Sequence[Connector]:
        """See base class."""
        return [connector(each) for each in self._operations]

    async def truth(self) -> list[Truth]:
        """What is true stands in the run."""
        return []


@workflow.defn
class Selling(SagaWorkflow, owner="team"):
    """Nobody runs it."""

    @workflow.run
    async def run(self, ask: Ask) -> None:
        """Sell."""


def step(of: Operation[Ask, Ask], number: int = 1, **said: Any) -> dict[str, Any]:
    """A step, done unless it is said otherwise."""
    done = {"phase": Phase.BODY, "outcome": Outcome.DONE, "undo": UndoState.NONE, "attempts": 1, "reason": None}
    words = {name: word.value if isinstance(word, StrEnum) else word for name, word in (done | said).items()}
    return {"number": number, "operation": of.name, "key": key_of(of), **words}


def row(of: Operation[Ask, Ask], state: State = State.DONE, *, saga: str = "sweep", **more: Any) -> Entry:
    """A row of the ledger."""
    return Entry(
        key=key_of(of),
        fingerprint="",
        operation=of.name,
        version=1,
        state=state,
        saga=saga,
        run_id="",
        step=1,
        correlation_id="",
        owner="",
        first_claimed_at=NOW,
        updated_at=NOW,
        **({"request": b'{"id":"1"}'} | more),
    )


def effect(of: Operation[Ask, Ask], *, order: int = 1, key: str | None = None) -> Truth:
    """An effect that stands."""
    return Truth("shop", of.name, key or key_of(of), order=order, text="an effect")


def task(of: Operation[Ask, Ask], *, undo: bool = False, choice: Choice | None = None, **said: Any) -> Task:
    """A question about the first step, answered or open."""
    failure = FailureDetails(operation=of.name, kind=FailureKind.TIMEOUT, outcome=Outcome.UNKNOWN, reason="lost")
    decision = Decision(task_id="1-1", choice=choice, who="Ada", why="she looked") if choice else None
    asked = {
        "id": "1-1",
        "step": 1,
        "operation": of.name,
        "undo": undo,
        "question": "What now?",
        "choices": (Choice.RETRY, Choice.SKIP),
        "owner": "team",
        "runbook": None,
        "failure": failure,
        "opened_at": NOW,
        "decision": decision,
    }
    return Task.model_validate(asked | said)


def run(
    ending: Ending,
    steps: Sequence[dict[str, Any]],
    *,
    scenario: Scenario = LOST,
    tasks: Sequence[Task] = (),
    residue: Sequence[str] = (),
    **more: Any,
) -> Run:
    """A run that says of itself how it ended."""
    status = Status(ending.value) if ending.value in set(Status) else Status.RESIDUE
    summary = RunSummary(
        workflow_id="sweep",
        run_id="r",
        workflow_type="Selling",
        correlation_id="c",
        status=status,
        parked=any(task.open for task in tasks),
        reason_code=None,
        duration_ms=1,
        retry_count=0,
        compensation_count=0,
        key_outputs={},
        steps=list(steps),
        residue=list(residue),
        tasks=list(tasks),
    )
    made: dict[str, Any] = {"workflow": "Selling", "workflow_id": "sweep", "summary": summary} | more
    return Run(scenario=scenario, ending=ending, **made)


async def broken(run: Run, *operations: Operation[Ask, Ask], when: str = "end") -> dict[str, str]:
    """What does not hold of a run: the texts of each invariant."""
    world = Shop(operations or (SELL, WRAP, MAIL))
    subject = Subject(workflow=Selling, request=Ask(id="1"), world=lambda wire: world)
    found: dict[str, str] = {}
    for violation in await judge(subject, world, run, when=when):
        found[violation.invariant] = "; ".join(filter(None, (found.get(violation.invariant), violation.text)))
    return found


def key_of(of: Operation[Ask, Ask]) -> str:
    """The key of its one effect."""
    return of.key_for(Ask(id="1"), workflow_id="sweep")
