"""The base of every saga."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final, NoReturn, TypeVar, overload

from pydantic import BaseModel
from temporalio import workflow

from kit.contract import Operation
from kit.contract.token import RequestT, ResultT
from kit.workflow.approving import DEFAULT_WITHIN, VERDICTS
from kit.workflow.definition import SagaDefinition, check, check_tenant, result_of, uses_in_process
from kit.workflow.engine import Saga
from kit.workflow.story import RunSummary
from kit.workflow.tasks import (
    DECIDE_SIGNAL,
    DECIDE_UPDATE,
    SUMMARY_QUERY,
    TASKS_QUERY,
    Approval,
    Choice,
    Decision,
    Task,
)

A = TypeVar("A", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)
C = TypeVar("C", bound=BaseModel)
D = TypeVar("D", bound=BaseModel)
RA = TypeVar("RA")
RB = TypeVar("RB")
RC = TypeVar("RC")
RD = TypeVar("RD")

DEFAULT_DEADLINE: Final = timedelta(hours=1)
"""The budget of a saga that declares none."""

DEFAULT_REPLAY_WINDOW: Final = timedelta(hours=12)
"""How long after a run its start may come again, when nothing is declared."""

_DEFAULTS: Final = SagaDefinition(
    name="SagaWorkflow", owner="", deadline=DEFAULT_DEADLINE, replay_window=DEFAULT_REPLAY_WINDOW
)

SAGA: Final = "_kit_saga"
"""Attribute of a workflow object: the saga that its verbs act on."""


class SagaWorkflow:
    """A workflow of steps whose effects are undone in reverse when it cannot go forward.

    A subclass is a plain Temporal workflow::

        @workflow.defn
        class Checkout(SagaWorkflow, owner="checkout-team", deadline=timedelta(hours=1)):
            @workflow.run
            async def run(self, checkout: CheckoutRequest) -> OrderPlaced:
                hold, payment = await self.parallel((reserve, ReserveStock(...)), (authorize, AuthorizePayment(...)))
                order = await self.step(create, CreateOrder(...))
                await self.pivot(capture, CapturePayment(...))
                self.after_commit(send_receipt, SendReceipt(...))
                return OrderPlaced(...)

    The class's own ``run`` is wrapped when the class is built, so nothing has to be called and nothing can be
    forgotten. Everything else of Temporal (timers, signals, ``workflow.execute_activity``) works beside the steps;
    effects caused that way are not undone.

    Class keywords:
        owner: The team that is asked about its runs.
        deadline: The budget of the body, from its start to the pivot; while a person is asked it does not run. Default
            `DEFAULT_DEADLINE`. There is no run timeout: Temporal ends a timed-out run without running any code.
        replay_window: How long after a run its start may come again (a redelivered event, a replayed batch). Default
            `DEFAULT_REPLAY_WINDOW`. Every key must be remembered for deadline + replay window.
        runbook: Where a person finds what to do.
        due: How long a person has to answer one of its tasks before the run tells of it again. Without it no timer is
            set for repairs; they count as overdue after `kit.workflow.DEFAULT_DUE` where tasks are listed.
        escalation: Who is told then, besides the owner.
        tenant: Whose run it is, over the fields of its request, such as ``"{merchant_id}"``: a hold can be on a tenant.
        uses: Operations that are chosen at run time and cannot be seen in the source.

    How a run ends: it returns (completed); fails with ``SagaCompensated`` (nothing is left) or ``SagaResidue`` (a
    person left an effect in place), details `RunSummary`; is cancelled (nothing is left); or waits for a person
    (parked). Not guaranteed: anything by a run that is terminated or times out, for no code of it runs again; what it
    has done can be unwound (`kit.workflow.unwind`).

    Raises:
        DefinitionError: When the class is built and breaks a rule; see `kit.workflow.definition`.
    """

    __saga__: ClassVar[SagaDefinition]
    """What the class declares."""

    def __init_subclass__(
        cls,
        *,
        owner: str | None = None,
        deadline: timedelta | None = None,
        replay_window: timedelta | None = None,
        runbook: str | None = None,
        due: timedelta | None = None,
        escalation: str | None = None,
        tenant: str | None = None,
        uses: tuple[Operation[Any, Any], ...] = (),
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        base: SagaDefinition = getattr(cls, "__saga__", _DEFAULTS)
        definition = SagaDefinition(
            name=cls.__name__,
            owner=base.owner if owner is None else owner,
            deadline=base.deadline if deadline is None else deadline,
            replay_window=base.replay_window if replay_window is None else replay_window,
            runbook=base.runbook if runbook is None else runbook,
            due=base.due if due is None else due,
            escalation=base.escalation if escalation is None else escalation,
            tenant=base.tenant if tenant is None else tenant,
            uses=uses_in_process(cls, uses),
        )
        own = cls.__module__.startswith("kit.workflow.")  # a base that leaves owner and body to whoever derives from it
        if not (own or workflow.unsafe.in_sandbox()):  # there it is built again for every run, and was checked before
            check(definition)
        cls.__saga__ = definition
        if "run" in vars(cls):
            if definition.tenant and not workflow.unsafe.in_sandbox():
                check_tenant(definition, vars(cls)["run"])
            cls.run = cls._kit_watched(vars(cls)["run"])  # type: ignore[attr-defined] # the subclass defines it

    @staticmethod
    def _kit_watched(run: Any) -> Any:
        """What becomes of a subclass's ``run``."""
        return _watched(run)

    @overload
    async def parallel(
        self, first: tuple[Operation[A, RA], A], second: tuple[Operation[B, RB], B], /
    ) -> tuple[RA, RB]: ...

    @overload
    async def parallel(
        self,
        first: tuple[Operation[A, RA], A],
        second: tuple[Operation[B, RB], B],
        third: tuple[Operation[C, RC], C],
        /,
    ) -> tuple[RA, RB, RC]: ...

    @overload
    async def parallel(
        self,
        first: tuple[Operation[A, RA], A],
        second: tuple[Operation[B, RB], B],
        third: tuple[Operation[C, RC], C],
        fourth: tuple[Operation[D, RD], D],
        /,
    ) -> tuple[RA, RB, RC, RD]: ...

    @overload
    async def parallel(self, *calls: tuple[Operation[Any, RA], Any]) -> tuple[RA, ...]: ...

    async def parallel(self, *calls: tuple[Operation[Any, Any], Any]) -> tuple[Any, ...]:
        """Carry several steps out at once and return their results in order.

        When one fails, those that wait for another attempt are stopped, those at work are waited for, and then the
        first failure is raised: no sibling's effect can land after the undo.

        Raises:
            ActivityError: A step failed for good.
        """
        return await _saga(self).steps.parallel(calls)

    async def step(
        self, operation: Operation[RequestT, ResultT], request: RequestT, *, approval: Approval | None = None
    ) -> ResultT:
        """Carry one step out and return its result.

        Args:
            operation: What to do.
            request: With which arguments.
            approval: What `approval` gave for exactly this. It is used up, whatever becomes of the step.

        Raises:
            ApplicationError: ``SagaInvalidStep``: the approval is for something else, or has been used;
                ``SagaApprovalExpired``: it is too old.
            ActivityError: It failed for good. Its cause says why (`kit.contract.FailureDetails`); a workflow may catch
                it and go another way. What the failed step may have left behind is cleared up in any case.
            asyncio.CancelledError: The run was cancelled; let it pass.
        """
        result: ResultT = await _saga(self).steps.step(operation, request, approval=approval)
        return result

    async def pivot(
        self, operation: Operation[RequestT, ResultT], request: RequestT, *, approval: Approval | None = None
    ) -> ResultT:
        """Carry out the step after which the saga only goes forward.

        Until it is done a failure turns the saga round as in `step`. Afterwards a cancellation comes too late,
        transient failures are retried without end, and permanent ones ask a person.
        """
        result: ResultT = await _saga(self).steps.step(operation, request, pivot=True, approval=approval)
        return result

    def after_commit(self, operation: Operation[RequestT, Any], request: RequestT) -> None:
        """Hold an operation back until the saga has succeeded.

        It is carried out when ``run`` has returned, and never if it does not. Its failure never undoes the business
        result: it is retried without end or put to a person.
        """
        _saga(self).steps.after_commit(operation, request)

    async def child(
        self,
        saga: type[SagaWorkflow],
        request: Any,
        *,
        id: str | None = None,
        task_queue: str | None = None,
    ) -> Any:
        """Carry a whole saga out as one step, and return its result.

        The child stays undoable until this saga closes: when this one turns round, what the child has done is undone
        from the ledger, latest first like any step. What the child holds back until its commit is carried out after
        the commit of this saga. Not undoable by a machine: what the child does irreversibly after its own pivot; a
        person is asked.

        Args:
            saga: The child's class.
            request: The argument of its ``run``.
            id: Its workflow id, which it keeps for ever: prefer a business id. By default this run's id and the number
                of the step.
            task_queue: Whose workers run it; by default this run's own.

        Raises:
            ChildWorkflowError: It failed or was cancelled, and has undone itself; or it was ended from outside, and
                what it left is cleared up when this saga turns round or commits.
            WorkflowAlreadyStartedError: Its id is taken by an open run of somebody else's.
            SagaUsageError: The class is no saga.
        """
        return await _saga(self).steps.child(saga, request, id=id, task_queue=task_queue)

    def continue_as_new(self, request: Any) -> NoReturn:
        """Go on in a new run, with an empty history and everything that must not be forgotten.

        The stack, what is held back, the deadline and the pivot go with it. A cancellation that has been asked for
        turns the saga round here and now. For a saga of very many steps; the class must know every operation on the
        stack.

        Args:
            request: The argument of the next ``run``, which must say where to go on.

        Raises:
            SagaUsageError: A step is at work, a question is open, or there is too much to carry.
        """
        _saga(self).continue_as_new(request)

    async def approval(
        self,
        operation: Operation[RequestT, Any],
        request: RequestT,
        *,
        question: str,
        within: timedelta = DEFAULT_WITHIN,
        owner: str | None = None,
        remind: timedelta | None = None,
        runbook: str | None = None,
    ) -> Approval:
        """Ask a person whether an operation may be carried out with exactly these arguments, parked meanwhile.

        What is given back goes with the step: ``await self.step(operation, request, approval=approval)``. It counts for
        this operation and these arguments only, once, and until it expires. The deadline of the saga does not run while
        somebody is asked.

        Args:
            operation: What is to be done.
            request: With which arguments. The person sees all of them, and their decision names their digest.
            question: What is asked, in a sentence.
            within: How long the approval can be given, and used; from now on.
            owner: Who is asked; the operation's owner by default.
            remind: When the run tells of an open question again; by default what the operation or the saga declares,
                or half of ``within``, at most `kit.workflow.DEFAULT_DUE`.
            runbook: Where they find what to do; the operation's by default.

        Raises:
            ApplicationError: ``SagaRejected``, with who and why; ``SagaApprovalExpired``: nobody decided in time. Both
                turn the saga round unless they are caught.
        """
        approvals = _saga(self).asking()
        return await approvals.approval(
            operation, request, question=question, within=within, owner=owner, remind=remind, runbook=runbook
        )

    async def ask(
        self,
        question: str,
        *,
        choices: Sequence[Choice] = VERDICTS,
        about: str | None = None,
        owner: str | None = None,
        remind: timedelta | None = None,
        runbook: str | None = None,
    ) -> Decision:
        """Ask a person something that belongs to no step, parked meanwhile, however long it takes.

        Args:
            question: What is asked, in a sentence.
            choices: What can be decided. With ``Choice.SUPPLY`` the decision carries a ``result``, as JSON gives it.
            about: What equal questions of many runs have in common, in a word such as ``"crm.drift"``; the workflow's
                type by default.
            owner: Who is asked; the saga's owner by default.
            remind: When the run tells of it again; by default what the saga declares, or `kit.workflow.DEFAULT_DUE`.
            runbook: Where they find what to do; the saga's by default.
        """
        approvals = _saga(self).asking()
        return await approvals.ask(question, choices=choices, about=about, owner=owner, remind=remind, runbook=runbook)

    # -- operators -------------------------------------------------------------------------------------------------

    @workflow.update(name=DECIDE_UPDATE, description="Answer a task of this run.")
    async def kit_decide(self, decision: Decision) -> Task:
        """Answer a task. Refused unless it is open, offers the choice, and the result fits."""
        return _saga(self).desk.answers.decide(decision)

    @kit_decide.validator
    def _kit_check_decision(self, decision: Decision) -> None:
        _saga(self).desk.answers.check(decision)

    @workflow.signal(name=DECIDE_SIGNAL, description="Answer a task of this run; for batch operations.")
    def kit_decide_signal(self, decision: Any = None) -> None:
        """Answer a task. What does not fit changes nothing, and is told in the log and the current details."""
        _saga(self).desk.answers.hear(decision)

    @workflow.query(name=TASKS_QUERY, description="The questions this run has put to people.")
    def kit_tasks(self) -> list[Task]:
        """All tasks, answered or not."""
        return _saga(self).tasks

    @workflow.query(name=SUMMARY_QUERY, description="How this run stands.")
    def kit_summary(self) -> RunSummary:
        """How the run stands."""
        return _saga(self).summary()


def _saga(workflow_object: SagaWorkflow) -> Saga:
    """The run's saga, made when it is first needed: a subclass need not call ``super().__init__()``."""
    saga = workflow_object.__dict__.get(SAGA)
    if saga is None:
        cls = type(workflow_object)
        saga = workflow_object.__dict__[SAGA] = Saga(cls.__saga__, result_type=functools.partial(result_of, cls))
    assert isinstance(saga, Saga)  # noqa: S101 - for the type checker; the attribute is private
    return saga


def _watched(run: Any) -> Any:
    """A ``run`` under the saga's supervision, otherwise unchanged: name, signature, hints and decorator marks."""

    @functools.wraps(run)
    async def supervised(self: SagaWorkflow, *args: Any) -> Any:
        saga = _saga(self)
        saga.run.tenant = saga.run.definition.tenant_of(args[0] if args else None)
        return await saga.supervise(functools.partial(run, self, *args))

    return supervised
