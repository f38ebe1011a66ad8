"""Every reference workflow of the repository, under every pair of faults."""

import faulthandler
from collections.abc import Awaitable, Callable

import pytest

from kit.cli.discovery import find_subjects
from kit.testing import Subject, Verdict

DEPTH = 2
WORKERS = 2
"""As many as CI has cores. Under several pytest workers they share them, which costs nothing but their start."""

SUBJECTS = {subject.workflow.__name__: subject for subject in find_subjects()}
"""Those that `pyproject.toml` names: a workflow that is written later joins where it is named there."""


@pytest.mark.slow
@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
async def test_reference_workflow_is_safe_under_every_pair_of_faults(
    subject: Subject, kit_sweep: Callable[..., Awaitable[Verdict]]
) -> None:
    """No invariant is violated, and every point within the bound was faulted; ``--kit-sweep-depth`` says how deep."""
    faulthandler.cancel_dump_traceback_later()  # the session's alarm is for tests that hang, and this one may take long

    verdict = await kit_sweep(subject, depth=DEPTH, workers=WORKERS)

    verdict.assert_safe()
    assert verdict.unfaulted == ()
