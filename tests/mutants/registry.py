"""All mutants."""

from __future__ import annotations

from typing import Final

from tests.mutants.by_hand import IN_SAGAS_BY_HAND
from tests.mutants.in_connectors import IN_CONNECTORS
from tests.mutants.in_contracts import IN_CONTRACTS
from tests.mutants.in_ledger import IN_LEDGER
from tests.mutants.in_payments import IN_PAYMENTS
from tests.mutants.in_workflow import IN_WORKFLOW

MUTANTS: Final = (*IN_WORKFLOW, *IN_SAGAS_BY_HAND, *IN_CONTRACTS, *IN_PAYMENTS, *IN_CONNECTORS, *IN_LEDGER)
