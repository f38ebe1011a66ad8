"""The worlds of the reference workflows, and of small ones that show what a sweep can do."""

from typing import Final

from kit.testing.world import Subject
from tests.worlds.approved import APPROVED, REJECTED
from tests.worlds.checkout import CHECKOUT
from tests.worlds.crm_sync import CRM_SYNC
from tests.worlds.five_steps import FIVE_STEPS
from tests.worlds.plan_upgrade import PLAN_UPGRADE
from tests.worlds.subscription_cancel import DEAR_SUBSCRIPTION_CANCEL, SUBSCRIPTION_CANCEL
from tests.worlds.two_steps import TWO_STEPS

SUBJECTS: Final[tuple[Subject, ...]] = (CHECKOUT, CRM_SYNC, PLAN_UPGRADE, SUBSCRIPTION_CANCEL)
"""What ``kit verify`` verifies here."""

__all__ = [
    "APPROVED",
    "CHECKOUT",
    "CRM_SYNC",
    "DEAR_SUBSCRIPTION_CANCEL",
    "FIVE_STEPS",
    "PLAN_UPGRADE",
    "REJECTED",
    "SUBJECTS",
    "SUBSCRIPTION_CANCEL",
    "TWO_STEPS",
]
