"""What the tests of sagas share."""

from __future__ import annotations

import pytest

from tests.workflow.world import World


@pytest.fixture
def world() -> World:
    """A world of one's own."""
    return World()
