"""Rules of workflows: what must not stand between a step and the saga that keeps it."""

from __future__ import annotations

import ast
from typing import Final

from kit.testing.gates.lint.findings import Rule
from kit.testing.gates.lint.pivoting import irreversible_before_pivot
from kit.testing.gates.lint.project import Project
from kit.testing.gates.lint.source import Function, Source, assigned, calls, keyword, of_self, within
from kit.testing.gates.lint.stepping import ACTIVITIES, Found, stepping_methods, workflow_functions
from kit.testing.gates.lint.swallowing import swallowed
from kit.testing.gates.lint.unstable import is_unstable

_IO: Final = (
    *("aiohttp.", "aiosmtplib.", "aiosqlite.", "asyncpg.", "boto3.", "ftplib.", "grpc.", "http.client.", "httpx."),
    *("httpx2.", "psycopg.", "psycopg2.", "pymongo.", "redis.", "requests.", "shutil.", "smtplib.", "socket."),
    *("sqlalchemy.", "sqlite3.", "stripe.", "subprocess.", "urllib.request.", "urllib3."),
)
_IO_FUNCTIONS: Final = frozenset({"open", "input", "os.system", "os.popen", "os.remove", "os.getenv", "time.sleep"})

_TOGETHER: Final = frozenset(
    {
        *("asyncio.gather", "asyncio.wait", "asyncio.as_completed", "asyncio.create_task", "asyncio.ensure_future"),
        *("temporalio.workflow.wait", "temporalio.workflow.as_completed"),
    }
)

_STARTS: Final = frozenset({"start_workflow", "execute_workflow", "start_child_workflow", "execute_child_workflow"})
_TIMEOUTS: Final = ("run_timeout", "execution_timeout")


# -- KIT001 to KIT003 --------------------------------------------------------------------------------------------------


def effect_without_step(source: Source, project: Project) -> Found:
    """An operation's activity is scheduled by hand."""
    for function in workflow_functions(source, project):
        for call in calls(*function.body):
            if source.meaning(call.func) not in ACTIVITIES or not call.args:
                continue
            named = call.args[0]
            if isinstance(named, ast.Name):
                named = assigned(function, named.id) or assigned(source.tree, named.id) or named
            if _names_effect(source, project, named):
                yield call, f"{ast.unparse(call.args[0])} is scheduled without a step"


def _names_effect(source: Source, project: Project, expression: ast.expr) -> bool:
    if isinstance(expression, ast.Constant):
        return project.operation_named(str(expression.value), near=source)
    if isinstance(expression, ast.Attribute):
        if expression.attr in ("name", "undo_name"):
            return project.operation(source, expression.value) is not None
        found = project.class_named(source.meaning(expression.value))
        if found is not None and project.is_connector(*found):
            return True
    return project.operation(source, expression) is not None


def io_in_workflow(source: Source, project: Project) -> Found:
    """Workflow code reads or writes."""
    for function in workflow_functions(source, project):
        for call in calls(*function.body):
            name = source.meaning(call.func)
            if name.startswith(_IO) or name in _IO_FUNCTIONS:
                yield call, f"{name}() reads or writes from workflow code"


def clock_in_workflow(source: Source, project: Project) -> Found:
    """Workflow code asks a clock or chance."""
    for function in workflow_functions(source, project):
        for call in calls(*function.body):
            if is_unstable(source, call):
                yield call, f"{source.meaning(call.func)}() answers otherwise when the workflow is replayed"


# -- KIT005 to KIT007 --------------------------------------------------------------------------------------------------


def gathered(source: Source, project: Project) -> Found:
    """Steps at once, without the saga knowing that they belong together."""
    for function in workflow_functions(source, project):
        stepping = stepping_methods(source, project, function)
        for call in calls(*function.body):
            name = source.meaning(call.func)
            on_group = isinstance(call.func, ast.Attribute) and call.func.attr == "create_task"
            if name not in _TOGETHER and not on_group:
                continue
            if any(of_self(one.func) in stepping for one in calls(*call.args, *call.keywords)):
                yield call, f"{ast.unparse(call.func)}() runs steps at once behind the saga's back"


def shield_awaited_once(source: Source, project: Project) -> Found:
    """A shield that holds off the first cancellation only."""
    for function in workflow_functions(source, project):
        for node in within(*function.body):
            match node:
                case ast.Await(value=ast.Call(func=called)) if source.meaning(called) == "asyncio.shield":
                    around = source.ancestors(node)
                    if not any(isinstance(one, ast.While) for one in around):
                        yield node, "this shield holds off one cancellation; the second ends what it waits for"


# -- KIT008 to KIT010 --------------------------------------------------------------------------------------------------


def unbounded_retry(source: Source, project: Project) -> Found:
    """An activity of one's own that is retried for ever, whatever it answers."""
    for function in workflow_functions(source, project):
        for call in calls(*function.body):
            if source.meaning(call.func) not in ACTIVITIES or keyword(call, "schedule_to_close_timeout") is not None:
                continue
            if any(given.arg is None for given in call.keywords):  # **options: they may say it
                continue
            policy = keyword(call, "retry_policy")
            if policy is None or _is_endless(source, project, policy):
                yield call, f"{ast.unparse(call.args[0]) if call.args else 'this activity'} is retried for ever"


def _is_endless(source: Source, project: Project, policy: ast.expr) -> bool:
    if not isinstance(policy, ast.Call):
        found = project.definition(source.meaning(policy))
        if found is None or not isinstance(found[1], ast.Call):
            return False  # made somewhere that cannot be seen
        source, policy = found[0], found[1]
    if source.meaning(policy.func) != "temporalio.common.RetryPolicy":
        return False
    most = keyword(policy, "maximum_attempts")
    no_end = most is None or (isinstance(most, ast.Constant) and most.value == 0)
    return no_end and keyword(policy, "non_retryable_error_types") is None


def run_timeout(source: Source, project: Project) -> Found:
    """A saga is started with a timeout that ends it without running any code."""
    for call in calls(*_everywhere(source)):
        verb = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        scheduled = source.meaning(call.func).endswith(".ScheduleActionStartWorkflow")
        given = next((name for name in _TIMEOUTS if keyword(call, name) is not None), None)
        if given is None or not (verb in _STARTS or scheduled) or not call.args:
            continue
        if saga := project.saga_named(source, call.args[0]):
            yield call, f"saga {saga} is started with {given}, which ends it without running any code"


def _everywhere(source: Source) -> list[ast.stmt]:
    bodies = [node.body for node in ast.walk(source.tree) if isinstance(node, Function | ast.ClassDef | ast.Module)]
    return [statement for body in bodies for statement in body if not isinstance(statement, Function | ast.ClassDef)]


def not_awaited(source: Source, project: Project) -> Found:
    """A step that is never taken."""
    for function in workflow_functions(source, project):
        stepping = stepping_methods(source, project, function) & {"step", "parallel", "pivot"}
        for node in within(*function.body):
            match node:
                case ast.Expr(value=ast.Call(func=called)) if of_self(called) in stepping:
                    yield node, f"self.{of_self(called)}(...) is not awaited, so the step is never taken"


RULES: Final = (
    Rule(
        "KIT001",
        "effect without a step",
        "Nothing undoes an operation's effect that the saga does not know of, and it has no key of the saga's.",
        "await self.step(operation, request)",
        effect_without_step,
    ),
    Rule(
        "KIT002",
        "input or output in workflow code",
        "Workflow code runs again at every replay: what it reads may differ, and what it writes happens once more.",
        "make it an operation of a connector, or an activity",
        io_in_workflow,
    ),
    Rule(
        "KIT003",
        "clock or chance in workflow code",
        "A replay gets another answer and leaves the recorded history.",
        "use workflow.now(), workflow.random() or workflow.uuid4()",
        clock_in_workflow,
    ),
    Rule(
        "KIT004",
        "a step's failure is swallowed",
        "A cancellation comes as an exception, too: where it is swallowed the run goes on, or closes with its effects.",
        "catch ActivityError and decide by its cause; else end the handler with `raise`, "
        "or begin it with `if is_cancelled_exception(error): raise`",
        swallowed,
    ),
    Rule(
        "KIT005",
        "irreversible before the pivot",
        "The saga may still turn round, and what it has done cannot be taken back.",
        "hold it back with self.after_commit(...), or move it after the pivot",
        irreversible_before_pivot,
    ),
    Rule(
        "KIT006",
        "steps gathered",
        "When one fails, the others' effects may land after the undo, and their order on the stack is chance.",
        "await self.parallel((operation, request), ...)",
        gathered,
    ),
    Rule(
        "KIT007",
        "a shield awaited once",
        "A second cancellation ends the wait, and what comes next runs beside what was to be finished first.",
        "await the shield in a loop, `while not task.done():`, or leave the undo to the saga",
        shield_awaited_once,
    ),
    Rule(
        "KIT008",
        "retried for ever",
        "Temporal's default is to retry without end: a request that is refused for good is sent again and again.",
        "give retry_policy=RetryPolicy(maximum_attempts=...) or schedule_to_close_timeout=..., "
        "or make it an operation, whose dependency says what is worth another attempt",
        unbounded_retry,
    ),
    Rule(
        "KIT009",
        "run timeout on a saga",
        "Temporal ends a timed-out run without running any code, so nothing is undone.",
        "drop the timeout; the saga's own deadline turns it round",
        run_timeout,
    ),
    Rule(
        "KIT010",
        "a step is not awaited",
        "A coroutine that nobody awaits does nothing: the step is never taken.",
        "await it",
        not_awaited,
    ),
)
"""The rules of workflows."""
