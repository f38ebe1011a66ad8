"""All mutants."""

from __future__ import annotations

from typing import Final

from tests.mutants.by_hand import IN_SAGAS_BY_HAND
from tests.mutants.in_connectors import IN_CONNECTORS
from tests.mutants.in_contracts import IN_CONTRACTS
from tests.mutants.in_ledger import IN_LEDGER
from tests.mutants.in_other_workflows import IN_OTHER_WORKFLOWS
from tests.mutants.in_payments import IN_PAYMENTS
from tests.mutants.in_workflow import IN_WORKFLOW
from tests.mutants.seeding import Mutant

PLACES: Final[dict[str, tuple[Mutant, ...]]] = {
    "the workflow": IN_WORKFLOW,
    "a workflow written by hand": IN_SAGAS_BY_HAND,
    "the contracts": IN_CONTRACTS,
    "the connector to the bank": IN_PAYMENTS,
    "the other connectors": IN_CONNECTORS,
    "the ledger": IN_LEDGER,
    "the workflows over several systems": IN_OTHER_WORKFLOWS,
}
"""The mutants, by what they are seeded into."""

MUTANTS: Final = tuple(mutant for mutants in PLACES.values() for mutant in mutants)
