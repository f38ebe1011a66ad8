"""The benchmark's command: that it runs, and what holds on any machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_kit_schedules_what_a_hand_written_saga_schedules() -> None:
    """On the success path a saga on the kit has as many events, activities and timers as one written by hand."""
    command = [sys.executable, "-m", "tests.benchmarks", "saga", "--quick", "--json"]

    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=300)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    variants = json.loads(ended.stdout)["saga"]["variants"]
    counts = {
        (found["counts"]["events"], found["counts"]["activities"], found["counts"]["timers"])
        for found in variants.values()
    }
    assert len(variants) == 4
    assert counts == {(35, 5, 0)}


@pytest.mark.slow
def test_the_proof_is_measured_on_both_engines() -> None:
    """Scenarios run in turns on the simulation and on the real server, and a sweep and its memory are measured."""
    command = [sys.executable, "-m", "tests.benchmarks", "proof", "--quick", "--json"]

    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=300)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout)
    assert found["engines"]["simulation"]["per_second"]["median"] > 0
    assert found["engines"]["server"]["per_second"]["median"] > 0
    assert [timed["safe"] for timed in found["sweeps"]["sweeps"].values()] == [True]
    assert found["sweeps"]["memory"]["megabytes"] > 0
    assert {target["name"] for target in found["targets"]} >= {"simulation / server engine", "memory, MB"}
