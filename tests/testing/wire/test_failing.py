"""What the story says of an attempt that fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from kit.testing.wire.failing import told

INFO = replace(ActivityEnvironment.default_info(), activity_type="shop.pay.undo", attempt=2)


def failed(text: str, kind: str) -> ApplicationError:
    """How the guard reports what a connector raised."""
    try:
        try:
            raise ValueError(text)
        except ValueError as error:
            raise ApplicationError(f"shop.pay: {text}", type=f"shop.{kind}") from error
    except ApplicationError as reported:
        return reported


def test_the_attempt_and_its_reason_are_one_line() -> None:
    """The operation is named once, and what a library writes in several lines is one."""
    assert told(INFO, failed("no\n  reply", "timeout")) == "shop.pay.undo, attempt 2, fails: no reply"


def test_a_long_reason_is_cut() -> None:
    """A story is not the place for a page of an error."""
    assert len(told(INFO, failed("word " * 100, "timeout"))) < 250
    assert told(INFO, failed("word " * 100, "timeout")).endswith("word …")


@pytest.mark.parametrize(("kind", "shown"), [("bug", True), ("timeout", False)])
def test_only_a_bug_has_its_line(kind: str, shown: bool) -> None:
    """What nobody expected happened in some line; what the failure map knows has its own words."""
    assert ("At test_failing.py:" in told(INFO, failed("what", kind))) is shown
