"""The demo from end to end: the command, its document, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.docs.pages import ROOT, blocks

KIT = Path(sys.executable).parent / "kit"

pytestmark = pytest.mark.slow

WHOLE: Final = {"payments": ["captured"], "stock": ["reserved"], "webhooks": ["delivered"], "smtp": ["sent"]}
NOTHING: Final[dict[str, list[str]]] = {"payments": [], "stock": [], "webhooks": [], "smtp": []}

EXPECTED: Final = {
    "order-success": ("completed", "completed", WHOLE),
    "order-card-declined": ("failed", "compensated", NOTHING),
    "order-create-fails": ("failed", "compensated", NOTHING),
    "order-capture-refused": ("failed", "compensated", NOTHING),
    "order-reply-lost": ("completed", "completed", WHOLE),
    "order-rate-limited": ("completed", "completed", WHOLE),
    "order-fulfilment-down": ("completed", "completed", WHOLE),
    "order-mail-fails": ("completed", "completed", WHOLE),
    "order-three-clicks": ("completed", "completed", WHOLE),
    "order-cancelled": ("canceled", "cancelled", NOTHING),
    "order-worker-killed": ("completed", "completed", WHOLE),
}
"""How each order ends, and what of it stands in the end."""


class Demo:
    """A `kit demo` in a session of its own, whose processes are known by a variable they all inherit."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.mark = f"KIT_TEST_DEMO={folder}"
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("TEMPORAL_", "CHECKOUT_"))}
        name, _, value = self.mark.partition("=")
        self.process = subprocess.Popen(
            [KIT, "demo", *arguments],
            cwd=ROOT,
            env={**ours, name: value, "TMPDIR": str(folder), "TEMPORAL_CONFIG_FILE": os.devnull, "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def read_until(self, word: str) -> str:
        """Read what it prints, up to a line with a word in it."""
        assert self.process.stdout is not None
        read = ""
        for line in self.process.stdout:
            read += line
            if word in line:
                return read
        raise AssertionError(f"no {word!r} in {read!r}")

    def left(self) -> dict[int, str]:
        """Its processes that are there: by their environment, whoever their parent is by now."""
        found = {}
        for folder in Path("/proc").iterdir():
            try:
                marked = folder.name.isdigit() and self.mark.encode() in (folder / "environ").read_bytes()
                if marked:
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # it went while we looked, or is somebody else's
                continue
        return found

    def child(self, part: str) -> int:
        """The id of its process with this in its command line."""
        (pid,) = (pid for pid, command in self.left().items() if part in command)
        return pid


@contextmanager
def demo(*arguments: str) -> Iterator[Demo]:
    """A demo that is over after the block."""
    # Not pytest's folder: its path may be too long for a socket below it.
    with tempfile.TemporaryDirectory(prefix="kit-test-") as folder:
        running = Demo(Path(folder), *arguments)
        with running.process:
            try:
                yield running
            finally:
                for pid in running.left():
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def printed() -> tuple[str, str]:
    """What one run of everything prints: for machines, and for people."""
    with demo("--once", "--json") as running:
        out, err = running.process.communicate()
        assert running.process.returncode == 0, err
        assert running.left() == {}
        assert list(Path(running.mark.partition("=")[2]).iterdir()) == []
    return out, err


@pytest.fixture(scope="module")
def document(printed: tuple[str, str]) -> dict[str, Any]:
    """What it says to machines."""
    found: dict[str, Any] = json.loads(printed[0])
    return found


@pytest.fixture
def order(document: dict[str, Any]) -> Callable[[str], dict[str, Any]]:
    """One order of the document."""
    return lambda name: next(order for order in document["orders"] if order["workflow_id"] == name)


Order = Callable[[str], dict[str, Any]]


def kinds(order: dict[str, Any], provider: str) -> list[str]:
    """What one provider did, in order."""
    return [effect["kind"] for effect in order["effects"][provider]]


def test_all_orders_are_played_and_well(document: dict[str, Any]) -> None:
    """The document has every order, and the verdict that all is well."""
    assert [order["workflow_id"] for order in document["orders"]] == list(EXPECTED)
    assert document["verdict"]["ok"]
    assert document["verdict"]["problems"] == []
    assert document["server"]["embedded"]


def test_the_readme_shows_what_it_prints(printed: tuple[str, str]) -> None:
    """Every line of the README's excerpt is printed, in this order."""
    excerpt = next(block for block in blocks(ROOT / "README.md") if block.language == "text")
    told = iter(printed[1].splitlines())

    assert [line for line in excerpt.text.splitlines() if line not in told] == []


def test_cancellations_end_everywhere_or_nowhere(document: dict[str, Any]) -> None:
    """A cancellation whose reply was lost is found, not repeated; one that is refused leaves the customer as before."""
    timeout, refused = document["cancellations"]

    assert (timeout["completed"], timeout["asked"], timeout["canceled"], timeout["refunded"]) == (True, 1, 1, [1900])
    assert (timeout["plan"], timeout["told"], timeout["here"]) == ("none", 1, "canceled")
    assert (refused["completed"], refused["asked"], refused["canceled"], refused["refunded"]) == (False, 1, 0, [])
    assert (refused["plan"], refused["told"], refused["here"]) == ("starter", 0, "active")
    assert timeout["ok"]
    assert refused["ok"]


def test_account_is_the_same_in_every_system(document: dict[str, Any]) -> None:
    """What is told twice, or over a lost reply, is one run and one upgrade; a word of a non-owner is drift."""
    account = document["account"]
    kinds = Counter((effect["provider"], effect["kind"]) for effect in account["effects"])
    writes = [call for call in account["calls"] if call["operation"] == "write_company"]
    upgrade = [effect["provider"] for effect in account["effects"] if effect["details"].get("plan", "pro") == "pro"]

    assert (account["ok"], account["problems"]) == (True, [])
    assert account["answers"] == ["200 accepted"] * 2 + ["401 bad_signature"] + ["200 accepted"] * 3
    assert account["sync"] == {
        "runs": 1,
        "counts": {"applied": 4, "duplicate": 1},
        "drift": [["plan", "crm", "enterprise", "pro"]],
    }
    assert [(call["status"], call["fault"]) for call in writes[:2]] == [(429, "rate_limit"), (None, "drop_reply")]
    assert all((call["status"], call["fault"]) == (200, None) for call in writes[2:])
    assert kinds == {
        ("crm", "updated"): 5,  # enriched; starter; upgraded; by the colleague; back
        ("billing", "plan_changed"): 1,
        ("tickets", "opened"): 1,
        ("entitlements", "entitled"): 1,
        ("smtp", "sent"): 1,
    }
    assert upgrade[-6:] == ["crm", "billing", "tickets", "entitlements", "smtp", "crm"]
    assert (account["company"]["plan"], account["company"]["enrichment"]) == ("pro", "enriched")


def test_a_bad_build_is_reversed(document: dict[str, Any]) -> None:
    """Fifty orders of a bad build, three of them refunded by hand, are unwound: by the records no charge is left."""
    release = document["release"]
    would = Counter(effect["would"] for run in release["runs"] for effect in run["effects"])

    assert release["carried_out"]
    assert [finding["ok"] for finding in release["findings"]] == [True, True, True]
    told = (
        "50 orders of a bad build, 3 refunded by hand, unwound: 0 charges, holds or reservations left, 50 refunds, 0 "
    )
    assert release["findings"][0]["text"].startswith(told)
    assert would == {"undo": 250, "ask": 100}
    assert [run["state"] for run in release["runs"]] == ["parked"] * 50


@pytest.mark.parametrize("name", EXPECTED)
def test_order_ends_as_its_story_says(order: Order, name: str) -> None:
    """Each order has its status, its outcome, and exactly the effects that go with them."""
    found = order(name)
    live = {
        provider: [effect["kind"] for effect in effects if effect["live"]]
        for provider, effects in found["effects"].items()
    }

    assert (found["status"], found["outcome"], live) == EXPECTED[name]
    assert found["ok"]


def test_declined_card_leaves_no_payment_and_releases_stock(order: Order) -> None:
    """A declined card: nothing was ever held, and the stock is back."""
    found = order("order-card-declined")

    assert kinds(found, "payments") == []
    assert kinds(found, "stock") == ["reserved", "released"]
    assert found["reason"] == "generic_decline"
    assert found["shop"] == {"order": None, "cart": "open"}


def test_failed_creation_voids_and_releases(order: Order) -> None:
    """When the order cannot be created the hold is voided, the stock released, and the cart open again."""
    found = order("order-create-fails")

    assert kinds(found, "payments") == ["authorized", "voided"]
    assert kinds(found, "stock") == ["reserved", "released"]
    assert found["shop"]["cart"] == "open"


def test_refused_capture_undoes_the_order(order: Order) -> None:
    """When the capture is refused the order is cancelled as well."""
    found = order("order-capture-refused")

    assert kinds(found, "payments") == ["authorized", "voided"]
    assert found["shop"] == {"order": "cancelled", "cart": "open"}


@pytest.mark.parametrize("name", ["order-reply-lost", "order-worker-killed"])
def test_lost_reply_is_asked_for_again_and_charges_once(order: Order, name: str) -> None:
    """A capture that nobody heard of is asked for again under its key: two calls, one charge."""
    found = order(name)
    captures = [call for call in found["calls"] if call["operation"] == "capture"]

    assert kinds(found, "payments") == ["authorized", "captured"]
    assert captures[0]["fault"] in ("drop_reply", "delay")
    assert captures[-1]["note"] == "replayed"


def test_worker_was_really_killed(order: Order) -> None:
    """The story of the killed worker names the one that was killed and the one that took over."""
    (remark,) = order("order-worker-killed")["remarks"]

    assert "killed after the charge, before its record" in remark


@pytest.mark.parametrize(
    ("name", "operation", "statuses"),
    [
        ("order-rate-limited", "authorize", [429, 429, 200]),
        ("order-fulfilment-down", "deliver", [503, 503, 200]),
        ("order-mail-fails", "send", [451, 451, 250]),
    ],
)
def test_only_what_failed_is_tried_again(order: Order, name: str, operation: str, statuses: list[int]) -> None:
    """A system that says "later" is asked again until it answers, and nothing else is repeated."""
    calls = order(name)["calls"]

    assert [call["status"] for call in calls if call["operation"] == operation] == statuses
    others = [call["operation"] for call in calls if call["operation"] != operation]
    assert sorted(others) == sorted(set(others))


def test_three_submissions_are_one_order(order: Order) -> None:
    """Who submits a checkout again joins its run: three callers, one answer, no call twice."""
    found = order("order-three-clicks")

    assert len(found["answers"]) == 3
    assert all(answer == found["answers"][0] for answer in found["answers"])
    operations = [call["operation"] for call in found["calls"]]
    assert len(operations) == len(set(operations))


def test_cancelled_order_was_authorized_and_is_undone(order: Order) -> None:
    """A cancellation in the middle of the authorization waits for it and takes it back."""
    found = order("order-cancelled")

    assert kinds(found, "payments") == ["authorized", "voided"]
    assert found["shop"] == {"order": None, "cart": "open"}


@pytest.mark.parametrize(
    ("number", "said", "processes"),
    [
        (signal.SIGINT, "✓ order-", 3),  # orders are on their way, and a first one has ended
        (signal.SIGTERM, "Temporal Web UI", 2),  # the server is up, and the worker is not
    ],
)
def test_signal_in_the_middle_leaves_nothing(number: signal.Signals, said: str, processes: int) -> None:
    """Ctrl-C or SIGTERM in the middle ends every process, and the exit code says which it was."""
    with demo("--once") as running:
        running.read_until(said)
        assert len(running.left()) >= processes
        running.process.send_signal(number)
        out, err = running.process.communicate()

        assert (running.process.returncode, err) == (128 + number, "")
        assert "Stopped. Nothing is left running." in out
        assert running.left() == {}


@pytest.mark.parametrize(("victim", "said"), [("temporal.worker", "✓ order-"), ("start-dev", "Temporal Web UI")])
def test_death_in_the_middle_is_told(victim: str, said: str) -> None:
    """When the worker or the server dies by itself the demo says so with the end of its log, and exits with 1."""
    with demo("--once") as running:
        running.read_until(said)
        os.kill(running.child(victim), signal.SIGKILL)
        out, err = running.process.communicate()

        assert (running.process.returncode, err) == (1, "")
        assert "was killed by SIGKILL. The end of its log" in out
        assert "Traceback" not in out
        assert running.left() == {}
