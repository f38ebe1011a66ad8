"""The base of reconciliations: compares systems, repairs through operations, asks about the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from temporalio import workflow

from kit.contract import Invariant, Operation
from kit.errors import DefinitionError
from kit.workflow.findings import RECONCILIATION_QUERY, ReconciliationReport
from kit.workflow.progress import ReconciliationRequest
from kit.workflow.reconciling import Reconciliation

_RECONCILIATION: Final = "_kit_reconciliation"


@dataclass(frozen=True, slots=True)
class ReconciliationDefinition:
    """What a reconciliation class declares.

    Attributes:
        name: The class.
        invariants: What it checks, in this order.
    """

    name: str
    invariants: tuple[Invariant, ...]

    @property
    def operations(self) -> dict[str, Operation[Any, Any]]:
        """The operations it uses, by name."""
        return {operation.name: operation for each in self.invariants for operation in each.operations}


class ReconciliationWorkflow:
    """A workflow that checks invariants over real systems, and makes them hold again.

    ::

        @workflow.defn
        class Reconcile(ReconciliationWorkflow, invariants=(CAPTURED_HAS_ORDER, ORDER_HAS_PAYMENT)):
            @workflow.run
            async def run(self, request: ReconciliationRequest) -> ReconciliationReport:
                return await self.reconcile(request)

    Started by a schedule (`kit.operate.schedule_reconciliation`), by ``kit reconcile`` and by incidents. It needs a
    connector for the listings and repairs of its invariants, like a saga for its steps.

    Guarantees: a finding was seen in both systems after they had settled, while no run that had an effect on it was
    open; a repair is an effect in the ledger, so one that is found twice is made once; a failed repair does not stop
    the run; what was not checked is said to be unchecked, never to hold. Not guaranteed: that both systems are read at
    one instant (they cannot be), and so that what breaks a rule for a shorter time than a run takes is seen.

    Class keywords:
        invariants: What it checks.

    Raises:
        DefinitionError: When the class is built: it has no invariants, or two of one name.
    """

    __reconciliation__: ClassVar[ReconciliationDefinition]
    """What the class declares."""

    def __init_subclass__(cls, *, invariants: Iterable[Invariant] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        base: ReconciliationDefinition | None = getattr(cls, "__reconciliation__", None)
        known = base.invariants if base is not None and invariants is None else tuple(invariants or ())
        names = [each.name for each in known]
        if not names or len(set(names)) < len(names):
            raise DefinitionError(
                f"reconciliation {cls.__name__!r}",
                rule=f"its invariants are {names!r}",
                fix="name at least one, and each of them once: reports and incidents are read by these names",
            )
        cls.__reconciliation__ = ReconciliationDefinition(cls.__name__, known)

    async def reconcile(self, request: ReconciliationRequest) -> ReconciliationReport:
        """Check, repair and ask, as the request says.

        Raises:
            ApplicationError: The request names an invariant that there is not.
            ContinueAsNewError: The history grows long; let it pass.
        """
        run = Reconciliation(type(self).__reconciliation__.invariants, request)
        self.__dict__[_RECONCILIATION] = run
        return await run.report_all()

    @workflow.query(name=RECONCILIATION_QUERY, description="What this reconciliation has found so far.")
    def kit_reconciliation(self) -> ReconciliationReport | None:
        """The report as far as it has come; ``None`` before the first workflow task."""
        run: Reconciliation | None = self.__dict__.get(_RECONCILIATION)
        return None if run is None else run.progress.report
