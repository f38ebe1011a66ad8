"""Every reference workflow of the repository, under every fault; CI tries every pair as well."""

from collections.abc import Awaitable, Callable

import pytest

from kit.cli.discovery import find_subjects
from kit.testing import Subject, Verdict

SUBJECTS = {subject.workflow.__name__: subject for subject in find_subjects()}
"""Those that `pyproject.toml` names: a workflow that is written later joins where it is named there."""


@pytest.mark.slow
@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)
async def test_reference_workflow_is_safe_under_every_fault(
    subject: Subject, kit_sweep: Callable[..., Awaitable[Verdict]]
) -> None:
    """No invariant is violated, and every point within the bound was faulted; ``--kit-sweep-depth`` says how deep."""
    verdict = await kit_sweep(subject, depth=1)

    verdict.assert_safe()
    assert verdict.unfaulted == ()
