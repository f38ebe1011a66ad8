"""``kit replay-batch``: what it says before it does anything, and what it refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kit.cli.main import run
from kit.workflow.batches import PastEvent


def events(tmp_path: Path) -> Path:
    """Three events of two customers, one of them twice and both times too late in the file."""
    start = datetime(2026, 3, 2, tzinfo=UTC)
    made = [
        PastEvent(
            workflow="Checkout",
            workflow_id=f"checkout-{number}",
            entity=f"customer-{number % 2}",
            at=start + timedelta(hours=number),
            request={},
        )
        for number in (1, 3, 2, 2)
    ]
    file = tmp_path / "march.jsonl"
    file.write_text("".join(f"{event.model_dump_json()}\n" for event in made))
    return file


def test_dry_run_counts_and_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --yes it says how many, of what, for whom, how long, and that nothing was done."""
    code = run(
        ["replay-batch", str(events(tmp_path)), "--why", "lost", "--rate", "2", "--until", "2026-03-02T03:00:00Z"]
    )

    said = capsys.readouterr().out
    assert code == 0
    assert "3 events about 2 entities (3 for Checkout)" in said
    assert "1 outside the time span, 1 lines that say again what another says" in said
    assert "2 lines stood too late in the file" in said
    assert "at least 0:00:02" in said
    assert "Nothing was done. Add --yes" in said


def test_dry_run_as_a_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json gives the same counts."""
    code = run(["replay-batch", str(events(tmp_path)), "--why", "lost", "--json"])

    counted = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (counted["events"], counted["duplicates"], counted["reordered"]) == (3, 1, 2)
    assert counted["workflows"] == {"Checkout": 3}


def test_instant_without_a_time_zone_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cutoff that means something else in another office is no cutoff."""
    code = run(["replay-batch", str(events(tmp_path)), "--why", "lost", "--until", "2026-03-02T03:00:00"])

    assert code == 2
    assert "--until '2026-03-02T03:00:00': it is no instant with a time zone" in capsys.readouterr().err
