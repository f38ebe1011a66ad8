"""What is unwound under faults: a completed checkout, taken back whole."""

from collections.abc import Awaitable, Callable

import pytest

from kit.testing import Subject, Verdict
from tests.worlds.taken_back import TAKEN_BACK


@pytest.mark.slow
async def test_checkout_is_taken_back_under_every_fault(kit_sweep: Callable[..., Awaitable[Verdict]]) -> None:
    """Whatever goes wrong in a checkout, or in the unwind of it, nothing is left and nobody is charged."""
    subject: Subject = TAKEN_BACK

    verdict = await kit_sweep(subject, depth=1)

    verdict.assert_safe()
    assert verdict.unfaulted == ()
