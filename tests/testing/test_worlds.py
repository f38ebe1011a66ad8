"""What is wrong with a world, a subject or an invariant is said with the value, the rule and what to write instead."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from temporalio import workflow

from kit import SagaWorkflow
from kit.contract import Token, Undo
from kit.errors import DefinitionError
from kit.testing import Ending, Invariant, Run, Scenario, Subject, Truth, Wire, World, sweep
from kit.testing.engines.simulation import Simulation
from kit.worker import Connector
from tests.worlds import SUBJECTS
from tests.worlds.office import Office
from tests.worlds.two_steps import TWO_STEPS, Market, Receipt, Sale, Sell, Stall, charge, lay_aside

REQUEST = Sale(thing="lamp")


def refused(subject: Callable[[], Subject], scenario: str = "clean") -> str:
    """The error of a subject that cannot be built, or not be run."""
    with pytest.raises(DefinitionError) as raised:
        Simulation().run_here(subject(), Scenario.parse(scenario))
    return str(raised.value)


def selling(world: Any = Market, *invariants: Any, request: Any = REQUEST) -> Subject:
    """The two steps, in some world."""
    return Subject(Sell, request, world, invariants)


# -- worlds ------------------------------------------------------------------------------------------------------------


class Short(World):
    """As short as a world can be: connectors, and what is true."""

    def connect(self) -> Sequence[Connector]:
        """Build them."""
        self.market = Market(self.wire)
        return self.market.connect()

    async def truth(self) -> list[Truth]:
        """What the stall did."""
        return [Truth("stall", deed.operation, deed.key, deed.live) for deed in self.market.book.deeds]


def test_a_world_is_connectors_and_truth() -> None:
    """Two methods make a world; order and words of an effect may be left out."""
    run = Simulation().run_here(selling(Short), Scenario.parse("stall.charge#1:reply_lost"))

    assert run.ending is Ending.COMPLETED
    assert [effect.key for effect in run.truth] == ["lay-aside:lamp", "charge:lamp"]
    assert run.violations == ()


def test_connectors_are_built_once() -> None:
    """Whoever asks a world for its connectors gets the same objects: a service's database is one of them."""
    controls: Any = None
    world = Market(Wire(Scenario(), controls))

    assert world.connectors is world.connectors


class Bare(World):
    """Has a truth, and nothing that could make one."""

    async def truth(self) -> list[Truth]:
        """Nothing."""
        return []


class Single(Bare):
    """Gives its connector, not a list of it."""

    def connect(self) -> Any:
        """Build it."""
        return Market(self.wire).connect()[0]


class OfClasses(Bare):
    """Gives the class."""

    def connect(self) -> Any:
        """Build nothing."""
        return [Stall]


class Half(Connector):
    """Lays aside, and does not charge."""

    def __init__(self, shelf: Office) -> None:
        self.shelf = shelf

    @lay_aside.action
    async def lay_aside(self, request: Sale, token: Token) -> Receipt:
        """Lay the thing aside."""
        return Receipt(id=await self.shelf.do(token.key))

    @lay_aside.compensation
    async def put_back(self, undo: Undo[Sale, Receipt], token: Token) -> None:
        """Put it back."""

    @lay_aside.probe
    async def find(self, request: Sale, token: Token) -> Receipt | None:
        """Never."""
        return None


class WithoutTill(Market):
    """Has no connector for the charge."""

    def connect(self) -> Sequence[Connector]:
        """Build half of it."""
        return [Half(self.wire.client(Office(self.book, lay_aside.name, once=True), system="shelf"))]


class PastTheWire(Market):
    """Its till is reached directly."""

    def connect(self) -> Sequence[Connector]:
        """Build it, half on the wire."""
        shelf = Office(self.book, lay_aside.name, once=False)
        return [Stall(self.wire.client(shelf, system="shelf"), Office(self.book, charge.name, once=True))]


@pytest.mark.parametrize(
    ("world", "rule", "fix"),
    [
        (Bare, "world 'Bare': it has no connectors", "override connect()"),
        (Single, "its connect() gave <tests.worlds.two_steps.Stall", "also when there is only one"),
        (OfClasses, "its connect() gave [<class 'tests.worlds.two_steps.Stall'>]", "objects, not classes"),
        (
            WithoutTill,
            "it uses 'stall.charge', which no connector of this worker serves",
            "give the plugin the connector",
        ),
        (
            PastTheWire,
            "'stall.charge' was done in the clean run, and none of its requests passed the wire",
            "wire.client",
        ),
        (lambda wire: None, "its world builds None", "return an object of a subclass of kit.testing.World"),
    ],
    ids=["no connectors", "one connector", "a class", "a contract without one", "past the wire", "no world"],
)
def test_a_world_that_cannot_carry_the_workflow_is_refused(world: Any, rule: str, fix: str) -> None:
    """Whether connectors are missing, are none, or are reached past the wire: it is said before anything is swept."""
    error = refused(lambda: selling(world))

    assert rule in error
    assert fix in error.partition("Fix: ")[2]


class Telling(Market):
    """Tells what it is told to."""

    told: Any = None

    async def truth(self) -> Any:
        """What it is told."""
        return self.told


@pytest.mark.parametrize(
    ("told", "rule", "fix"),
    [
        (None, "it is None", "or []"),
        (["charge:lamp"], "it is ['charge:lamp']", "a list of kit.testing.Truth"),
        (
            [Truth("till", "stall.chrage", "charge:lamp")],
            "an effect of 'stall.chrage', which no connector of the world carries out",
            "one of: stall.charge, stall.lay_aside",
        ),
    ],
    ids=["nothing", "words", "another operation"],
)
def test_a_truth_that_is_none_is_refused(told: Any, rule: str, fix: str) -> None:
    """An effect of an operation that does not exist would be held against nobody."""
    world = type("Odd", (Telling,), {"told": told})

    error = refused(lambda: selling(world))

    assert error.startswith("truth of Odd: ")
    assert rule in error
    assert fix in error


# -- subjects ----------------------------------------------------------------------------------------------------------


@workflow.defn
class Unasked(SagaWorkflow, owner="team"):
    """Takes nothing."""

    @workflow.run
    async def run(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("build", "rule", "fix"),
    [
        (
            lambda: selling(request={"thing": "lamp"}),
            "request={'thing': 'lamp'} is a dict, and its run takes a Sale",
            "pass a Sale",
        ),
        (lambda: selling(None), "world=None is no class and no function", "pass the class itself"),
        (lambda: selling(Market, print), "<built-in function print>, among its invariants, is none", "Invariant('"),
    ],
    ids=["request", "world", "invariant"],
)
def test_a_subject_that_no_engine_could_run_is_refused(build: Callable[[], Subject], rule: str, fix: str) -> None:
    """It is found when the subject is built, not in the middle of a sweep."""
    error = refused(build)

    assert error.startswith("subject 'Sell': ")
    assert rule in error
    assert fix in error


def test_a_subject_may_take_nothing() -> None:
    """Where the signature names no class there is nothing to compare the request with."""
    subject = Subject(Unasked, None, Market)

    assert subject.request is None


# -- invariants --------------------------------------------------------------------------------------------------------


def forgetful(world: World, run: Run) -> Any:
    """Returns nothing."""


def single(world: World, run: Run) -> Any:
    """Returns one text."""
    return "the till is empty"


def boolean(world: World, run: Run) -> Any:
    """Returns whether it holds."""
    return True


def numbers(world: World, run: Run) -> Any:
    """Returns something else."""
    return [7]


def raising(world: World, run: Run) -> Any:
    """Looks for what is not there."""
    return [vars(world)["lamp"]]


async def failing(world: World, run: Run) -> Any:
    """The same, while it is awaited."""
    raise AssertionError("the till is empty")


def failing_late(world: World, run: Run) -> Any:
    """The same, while its sentences are read."""
    yield "all is well"
    raise LookupError("lamp")


@pytest.mark.parametrize(
    ("check", "rule"),
    [
        (forgetful, "its check gave None in scenario 'clean'"),
        (single, "its check gave 'the till is empty' in scenario 'clean'"),
        (boolean, "its check gave True in scenario 'clean'"),
        (numbers, "its check gave [7] in scenario 'clean'"),
        (raising, "its check raised KeyError('lamp') in scenario 'clean'"),
        (failing, "its check raised AssertionError('the till is empty') in scenario 'clean'"),
        (failing_late, "its check raised LookupError('lamp') in scenario 'clean'"),
    ],
)
def test_an_invariant_that_gives_no_sentences_is_refused(check: Any, rule: str) -> None:
    """It might never fail, or fail for every letter of its text: neither says anything about the workflow."""
    error = refused(lambda: selling(Market, Invariant("the till is full", check)))

    assert error.startswith(f"invariant 'the till is full': {rule}")
    assert "Fix: " in error


def in_pairs(world: Market, run: Run) -> list[str]:
    """Wrong as soon as anything goes wrong."""
    return [] if not run.scenario.faults else [vars(world)["lamp"]]


def test_a_sweep_ends_with_the_error_of_an_invariant() -> None:
    """A defect of the check is not counted as one of the workflow, and names the scenario that shows it."""
    with pytest.raises(DefinitionError, match=r"raised KeyError.* in scenario 'stall.lay_aside#1:refused'"):
        asyncio.run(sweep(TWO_STEPS, invariants=[Invariant("odd", in_pairs)], depth=1))


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.workflow.__name__)
def test_subject_of_a_module_goes_to_another_process_by_its_name(subject: Subject) -> None:
    """It is imported there: neither its request nor its invariants need be picklable."""
    assert pickle.loads(pickle.dumps(subject)) is subject  # noqa: S301 - our own
