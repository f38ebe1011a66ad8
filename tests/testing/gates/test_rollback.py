"""`kit rollback-check`: two versions of a service, and the runs in flight of each."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from activities.payments import contract as payments
from kit.errors import DefinitionError
from kit.testing.gates.histories import FOLDER, read
from kit.testing.gates.rollback import Direction, Point, Report, State, told
from kit.testing.gates.rollback.finishing import Worker
from kit.testing.gates.rollback.points import judge, prefixes, spread
from kit.testing.gates.rollback.telling import until
from kit.testing.gates.rollback.versions import OTHER, Version, _visitor, pins, previous
from kit.testing.gates.watching import watch
from kit.testing.gates.watching.__main__ import leave_out
from kit.testing.gates.watching.hosting import missing
from kit.worker import ReliabilityPlugin
from tests.house._checkout import CHECKOUT
from workflows.checkout import Checkout

BOOTH: Final = Path(__file__).parent / "booth"
KIT: Final = Path(sys.executable).parent / "kit"

VERSION: Final = Version("old", Path(), Path(sys.executable), Path())

CHANGES: Final = {
    # harmless
    "        seat = await self.step(reserve, Ask(order_id=order.order_id))\n"
    "        await self.pivot(charge, Ask(order_id=order.order_id))\n"
    "        return seat.order_id\n": "        held = await self.step(reserve, Ask(order_id=order.order_id))\n"
    "        await self.pivot(charge, Ask(order_id=order.order_id))\n"
    "        return held.order_id\n",
    # a patch
    "        # the patch goes here\n": '        if workflow.patched("stamp-it"):\n'
    "            await self.step(stamp, Ask(order_id=order.order_id))\n",
    # another order
    "        await self.step(reserve, Ask(order_id=order.order_id))\n"
    "        await self.step(stamp, Ask(order_id=order.order_id))\n": "        await self.step(stamp, "
    "Ask(order_id=order.order_id))\n        await self.step(reserve, Ask(order_id=order.order_id))\n",
    # a renamed field
    "    amount: int = 0\n": "    total: int = 0\n",
    "amount=bill.amount": "amount=bill.total",
    'Bill(order_id=f"order-{number}.", amount=PRICE)': 'Bill(order_id=f"order-{number}.", total=PRICE)',
    # a workflow that is new
    "WORKFLOWS = (Harmless, Patched, Reordered, Renamed, Stamped)\n": "\n@workflow.defn\n"
    'class Fresh(SagaWorkflow, owner="booth"):\n    """The money alone."""\n\n    @workflow.run\n'
    "    async def run(self, order: Order) -> str:\n        await self.pivot(charge, Ask(order_id=order.order_id))\n"
    "        return order.order_id\n\n\nWORKFLOWS = (Harmless, Patched, Reordered, Renamed, Stamped, Fresh)\n",
    # one more field of a result
    '    """What a stamped ticket says."""\n\n    order_id: str\n': '    """What a stamped ticket says."""\n\n'
    '    order_id: str\n    ink: str = "blue"\n',
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The booth in a git repository: one version is committed, the other one lies in the folder."""
    folder = tmp_path_factory.mktemp("booth") / "service"
    shutil.copytree(BOOTH, folder, ignore=shutil.ignore_patterns("__pycache__"))
    who = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")
    for command in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "The first version")):
        subprocess.run(["git", *command], cwd=folder, check=True)
    code = (folder / "service.py").read_text()
    for was, now in CHANGES.items():
        assert was in code
        code = code.replace(was, now, 1)
    (folder / "service.py").write_text(code)
    return folder


@pytest.fixture(scope="module")
def checked(repository: Path) -> tuple[int, dict[str, Any]]:
    """The exit code and the document of the whole command."""
    command = [str(KIT), "rollback-check", "--base", "HEAD", "--points", "5", "--json"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


def states(checked: tuple[int, dict[str, Any]], workflow: str, direction: Direction) -> list[str]:
    """What becomes of a workflow at each of its points; what was finished on the server is marked with a star."""
    points = [p for p in checked[1]["points"] if (p["workflow"], p["direction"]) == (workflow, direction)]
    return [p["state"] + ("*" if p["played"] else "") for p in points]


def why(checked: tuple[int, dict[str, Any]], workflow: str, direction: Direction) -> str:
    """Every reason of a workflow's points."""
    points = [p for p in checked[1]["points"] if (p["workflow"], p["direction"]) == (workflow, direction)]
    return "\n".join(p["why"] for p in points)


@pytest.mark.slow
def test_a_harmless_change_strands_nothing(checked: tuple[int, dict[str, Any]]) -> None:
    """A run of a workflow that changed in name only goes over at every point, both ways."""
    both = [states(checked, "Harmless", way) for way in Direction]

    assert [[state.strip("*") for state in found] for found in both] == [["fine"] * 3] * 2
    assert "fine*" in both[0]


@pytest.mark.slow
def test_a_patch_cannot_be_rolled_back_once_it_was_met(checked: tuple[int, dict[str, Any]]) -> None:
    """Old code is stuck with a run that met a patch, on the real server, too; new code takes every old run over."""
    back = states(checked, "Patched", Direction.BACK)

    assert [state.strip("*") for state in back] == ["fine", "fine", "stuck", "stuck"]
    assert "stuck*" in back
    assert "the patch 'stamp-it' is unknown to it" in why(checked, "Patched", Direction.BACK)
    assert [state.strip("*") for state in states(checked, "Patched", Direction.FORTH)] == ["fine"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("direction", list(Direction))
def test_another_order_of_steps_strands_both_ways(checked: tuple[int, dict[str, Any]], direction: Direction) -> None:
    """Reordered steps leave every run past the first of them stuck, and the event is named."""
    found = states(checked, "Reordered", direction)

    assert [state.strip("*") for state in found] == ["fine", "stuck", "stuck", "stuck"]
    assert "stuck*" in found
    assert "event 5 is 'schedule" in why(checked, "Reordered", direction)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("direction", "was", "now"), [(Direction.BACK, "total", "amount"), (Direction.FORTH, "amount", "total")]
)
def test_a_renamed_field_is_zeroed(
    checked: tuple[int, dict[str, Any]], direction: Direction, was: str, now: str
) -> None:
    """A field that is dropped under its old name and made up under its new one is found, and what that did."""
    found = states(checked, "Renamed", direction)

    assert found == ["violated*", "altered"]
    assert "the ticket is sold, and 0 of 500 is paid" in why(checked, "Renamed", direction)
    assert f"{was} = 500 is dropped" in why(checked, "Renamed", direction)
    assert f"{now}, which is not there, becomes 0" in why(checked, "Renamed", direction)


@pytest.mark.slow
def test_a_result_that_old_code_refuses_strands_the_run(checked: tuple[int, dict[str, Any]]) -> None:
    """Old code cannot read a result with a new field, and the run stands still; new code has a default."""
    back = states(checked, "Stamped", Direction.BACK)

    assert [state.strip("*") for state in back] == ["fine", "unreadable", "unreadable"]
    assert "unreadable*" in back
    assert "the result of tickets.stamp (event 7) cannot be read" in why(checked, "Stamped", Direction.BACK)
    assert "result.ink: Extra inputs are not permitted" in why(checked, "Stamped", Direction.BACK)
    assert [state.strip("*") for state in states(checked, "Stamped", Direction.FORTH)] == ["fine"] * 3


@pytest.mark.slow
def test_a_new_workflow_is_noted_and_fails_nothing(checked: tuple[int, dict[str, Any]]) -> None:
    """A workflow that the old code does not have has no points; that a rollback leaves its runs standing is said."""
    found = [states(checked, "Fresh", way) for way in Direction]

    assert found == [[], []]
    assert checked[1]["notes"] == ["the old code has no Fresh: after a rollback its runs stand still until it is back"]


@pytest.mark.slow
def test_the_exit_code_says_that_a_run_strands(checked: tuple[int, dict[str, Any]]) -> None:
    """The command fails, and has played as many points as it was told to."""
    code, document = checked

    assert code == 1
    assert document["safe"] is False
    assert document["played"] == 10


def test_a_version_that_git_does_not_have_is_refused(repository: Path, tmp_path: Path) -> None:
    """An unknown base is an error that names it, not an empty check."""
    with pytest.raises(DefinitionError, match="no-such-tag"):
        previous(repository, "no-such-tag", tmp_path)


def test_the_old_version_is_the_committed_one(repository: Path, tmp_path: Path) -> None:
    """What is changed and not committed is not in the old version; it comes first on its import path."""
    old = previous(repository, "HEAD", tmp_path)

    assert "# the patch goes here" in (old.folder / "service.py").read_text()
    assert old.environment()["PYTHONPATH"].startswith(str(old.folder))
    assert old.app == "service:APP"


async def test_a_step_under_another_key_cannot_change_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a step was taken under a key that the other version would not ask for, its undo finds nothing."""
    clean = read(CHECKOUT / FOLDER / "checkout/clean.json")
    (own,) = await watch([clean.history], workflows=[Checkout], plugins=[ReliabilityPlugin()])
    monkeypatch.setattr(payments.authorize, "key", "hold:{order_id}")
    other = await watch([one.history for one in prefixes([clean])], workflows=[Checkout], plugins=[ReliabilityPlugin()])

    found = judge(clean, other, direction=Direction.BACK, own=own)

    assert [point.state for point in found] == [State.FINE, *[State.ALTERED] * 5]
    assert "under the key 'authorize:ORDER-1'" in found[1].why
    assert "ask for 'hold:ORDER-1'" in found[1].why


def test_the_other_version_is_off_the_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an editable install put there of the other version is replaced by the same folder of this one."""
    new, old = tmp_path / "new", tmp_path / "old"
    (new / "src").mkdir(parents=True)
    old.mkdir()
    installed = str(Path(sys.prefix) / "lib")
    monkeypatch.setattr(sys, "path", [str(new), str(new / "src"), installed, "/elsewhere"])
    monkeypatch.chdir(old)

    leave_out(new)

    assert sys.path == [str(old), str(old / "src"), installed, "/elsewhere"]
    assert replace(VERSION, folder=old, other=new).environment()[OTHER] == str(new)


@pytest.mark.slow
def test_a_version_that_is_not_running_says_what_it_said_last(repository: Path, tmp_path: Path) -> None:
    """A worker that cannot be started is an error with the last line of its log."""
    code = replace(VERSION, folder=tmp_path, visitors=_visitor(tmp_path))

    async def start() -> None:
        (tmp_path / "pyproject.toml").write_text('[tool.kit]\napp = "nowhere:app"\n')
        async with Worker.start(code, {}, tmp_path) as worker:
            await worker.do("has", workflow="service:Harmless")

    with pytest.raises(DefinitionError, match="No module named 'nowhere'"):
        asyncio.run(start())


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("here:Saga", ""),
        ("here:Other", "here has no Other"),
        ("nowhere:Saga", "there is no module nowhere"),
        ("nowhere.deeper:Saga", "there is no module nowhere"),
    ],
)
def test_what_a_version_does_not_have_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, why: str
) -> None:
    """A class that a version lacks is told from one that it has."""
    (tmp_path / "here.py").write_text("class Saga: ...\n")
    monkeypatch.syspath_prepend(tmp_path)

    assert missing(target) == why


def test_a_version_that_cannot_be_imported_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is there and lacks what it needs itself is no missing class, but an error."""
    (tmp_path / "broken_service.py").write_text("import nothing_there\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModuleNotFoundError, match="nothing_there"):
        missing("broken_service:Saga")


def test_pins_are_read_whatever_their_spelling(tmp_path: Path) -> None:
    """Exact versions count; names are compared as package indexes do."""
    file = tmp_path / "constraints.txt"
    file.write_text("# a comment\nTyping_Extensions==4.1\nhttpx>=1\nzope.interface==5.0\n")

    assert pins(file) == {"typing-extensions": "4.1", "zope-interface": "5.0"}
    assert pins(tmp_path / "none.txt") == {}


def points(*found: State) -> list[Point]:
    """The points of one run."""
    return [
        Point(
            "run",
            "Booth",
            Direction.BACK,
            number,
            3 * number,
            f"step.{number - 1}",
            (f"schedule step.{number}",),
            state,
        )
        for number, state in enumerate(found, 1)
    ]


UNTIL: Mapping[tuple[State, ...], str] = {
    (State.FINE, State.FINE): "at any point",
    (State.STUCK, State.STUCK): "never: not even a run that has only been submitted",
    (State.FINE, State.FINE, State.STUCK): "until schedule step.2; from then on it strands",
    (State.FINE, State.ALTERED, State.FINE): "until schedule step.1; then not before step.2 has ended",
}


@pytest.mark.parametrize(("found", "said"), UNTIL.items(), ids=list(UNTIL.values()))
def test_until_where_one_can_roll_back_is_said_in_words(found: tuple[State, ...], said: str) -> None:
    """The last step before a run strands is named."""
    assert until(points(*found)) == said


def test_what_is_played_has_every_reason_first() -> None:
    """A bounded choice takes the first point of each state and reason, and then spreads out."""
    listed = [replace(point, why=point.state.value) for point in points(*[State.FINE] * 7, State.STUCK, State.STUCK)]

    assert [point.task for point in spread(listed, 2)] == [1, 8]
    assert [point.task for point in spread(listed, 3)] == [1, 4, 8]
    assert spread(listed, 99) == listed


def test_a_check_of_nothing_is_not_safe() -> None:
    """Without a recorded run nothing is promised, unless the old version has no workflow at all."""
    report = Report("HEAD", (), ("there is no recorded run",))

    assert (report.safe, replace(report, begins=True).safe) == (False, True)
    assert list(told(report)) == [
        "Note: there is no recorded run",
        "0 points, 0 of them finished on a real server: nothing was checked",
    ]
