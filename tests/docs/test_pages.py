"""Pages hold together: links lead somewhere, code compiles, the README is short."""

from __future__ import annotations

import ast
from datetime import timedelta
from pathlib import Path

import pytest

import kit
from activities.email.contract import EMAIL
from activities.fulfilment.contract import FULFILMENT, request_shipment
from activities.inventory.contract import INVENTORY
from activities.orders.contract import ORDERS
from activities.payments.contract import KEY_RETENTION, PAYMENTS
from kit import Choice, Dependency, Once, Outcome, Status
from kit.contract import OnceStrategy
from kit.worker import Attempt
from kit.worker.failures import MAX_RETRY_AFTER
from kit.worker.work import STUCK_AFTER
from tests.docs.pages import PAGES, ROOT, anchors, blocks, links, name_of, plain, prose, rows, section
from workflows.checkout import Checkout

README = ROOT / "README.md"
FAILURE_MODEL = ROOT / "docs/explanation/failure-model.md"
DESIGN = ROOT / "docs/explanation/design.md"
CODE = [(page, block) for page in PAGES for block in blocks(page) if block.language == "python"]
ELSEWHERE = ("http://", "https://")


def test_the_readme_is_short() -> None:
    """The README has fewer than 150 lines."""
    assert len(README.read_text().splitlines()) < 150


def test_the_readme_says_what_the_kit_is_in_sixty_words() -> None:
    """What the kit is, is said in about 60 words before the first block."""
    first = README.read_text().split("```")[0].split("\n", 1)[1]

    assert 40 <= len(first.split()) <= 65


def test_the_two_commands_come_first() -> None:
    """The first block of the README is the two commands."""
    first = next(blocks(README))
    commands = [line.split()[0] for line in first.text.splitlines()]

    assert commands == ["scripts/demo", "scripts/test"]


def test_the_example_of_the_readme_is_short() -> None:
    """The first example of the README has at most 15 lines of code; `test_readme` runs it."""
    example = next(block for block in blocks(README) if block.language == "python")

    assert len([line for line in example.text.splitlines() if line.strip()]) <= 15


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a page, an image or a heading of this repository finds it."""
    lost = []
    for link in links(page):
        if link.startswith(ELSEWHERE):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)

    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_images_say_what_they_show(page: Path) -> None:
    """Every image has a text for those who do not see it."""
    assert "![](" not in prose(page)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "docs" in page.parts and page.name != "index.md"], ids=name_of
)
def test_every_page_is_in_the_index(page: Path) -> None:
    """Nothing in the docs is found by chance only."""
    index = ROOT / "docs/index.md"

    assert page.resolve() in {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}


@pytest.mark.parametrize(("page", "block"), CODE, ids=[f"{name_of(page)}:{block.line}" for page, block in CODE])
def test_python_compiles(page: Path, block: object) -> None:
    """Every block of Python is Python, and what it imports from this repository exists."""
    tree = ast.parse(block.text)  # type: ignore[attr-defined] # a Block, which parametrize hides
    wrong = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("kit", "activities", "workflows"):
            module = __import__(node.module or "", fromlist=[name.name for name in node.names])
            wrong += [name.name for name in node.names if not hasattr(module, name.name)]

    assert wrong == []


def test_every_fence_is_closed() -> None:
    """No page ends inside a block."""
    assert [name_of(page) for page in PAGES if page.read_text().count("\n```") % 2] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_its_language(page: Path) -> None:
    """A block without a language is neither checked nor coloured."""
    assert {block.language for block in blocks(page)} <= {"python", "sh", "text", "toml", "yaml", "mermaid"}


def test_every_room_is_in_the_design() -> None:
    """The table of rooms has the rooms that are there."""
    home = Path(kit.__file__).parent
    packages = {f"kit.{path.parent.name}" for path in home.glob("*/__init__.py")}

    assert {plain(row[0]) for row in rows(DESIGN, "Rooms")} == packages | {"kit.errors"}


DEPENDENCIES = (PAYMENTS, INVENTORY, ORDERS, FULFILMENT, EMAIL)


@pytest.mark.parametrize("dependency", DEPENDENCIES, ids=lambda dependency: dependency.name)
def test_every_system_has_its_place_for_operators(dependency: Dependency) -> None:
    """Each dependency of the checkout has a section where its runbook leads, with its settle time."""
    path, _, anchor = (dependency.runbook or "").partition("#")
    seconds = dependency.settle.total_seconds()

    assert ROOT / path == FAILURE_MODEL
    assert anchor == dependency.name
    assert f"Settle time: {seconds:g} s." in section(FAILURE_MODEL, dependency.name)


def test_the_checkouts_own_runbook_leads_somewhere() -> None:
    """What the Temporal UI shows as runbook of a checkout is a heading of a page."""
    path, _, anchor = (Checkout.__saga__.runbook or "").partition("#")

    assert anchor in anchors(ROOT / path)


def test_numbers_in_the_text_are_those_of_the_code() -> None:
    """Times and counts that the pages name are in force."""
    attempt = Attempt.direct(timeout=timedelta(seconds=10))
    flat = {page: " ".join(page.read_text().split()) for page in PAGES}

    assert attempt.cut_off - attempt.started_at == timedelta(seconds=9)
    assert "cut off after nine tenths of the timeout" in flat[FAILURE_MODEL]
    assert STUCK_AFTER == 10
    assert "from its tenth" in flat[FAILURE_MODEL]
    assert "have failed ten times or more" in flat[ROOT / "docs/reference/telemetry.md"]
    assert timedelta(hours=1) == MAX_RETRY_AFTER
    assert "`Retry-After` (at most an hour of it)" in flat[ROOT / "docs/reference/errors.md"]
    assert timedelta(hours=24) == KEY_RETENTION
    assert "Keys live 24 hours there" in flat[FAILURE_MODEL]
    assert request_shipment.once == Once.by_key(ttl=timedelta(days=7))
    assert "`webhook-id` for 7 days" in flat[FAILURE_MODEL]


def test_the_table_of_endings_has_every_way_a_run_closes() -> None:
    """Each status in which a run closes stands in the failure model; the rest are of open runs."""
    still_open = {Status.RUNNING, Status.UNDOING, Status.COMMITTED}

    assert {plain(row[0]) for row in rows(FAILURE_MODEL, "How a run ends")} == set(Status) - still_open


def test_the_table_of_outcomes_has_every_outcome() -> None:
    """The four outcomes are explained, and no other."""
    assert [plain(row[0]) for row in rows(FAILURE_MODEL, "Outcomes")] == [outcome.value for outcome in Outcome]


def test_every_choice_is_explained_to_the_operator() -> None:
    """The how-to has each choice that a task can offer."""
    page = ROOT / "docs/how-to/answer-a-task.md"

    assert [plain(row[0]) for row in rows(page, "Decide")] == [choice.value for choice in Choice]


def test_every_strategy_says_what_happens_in_doubt() -> None:
    """The failure model says for each once-strategy how an unknown outcome is resolved."""
    text = section(FAILURE_MODEL, "The guard's table")

    assert [f"| `{strategy.name}` |" in text for strategy in OnceStrategy] == [True] * len(OnceStrategy)
