"""``kit contracts``: write down what runs in flight were promised, and refuse a change that would strand them."""

from __future__ import annotations

import asyncio
import json as json_format
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter

from kit.cli.discovery import find_connectors, find_folder, find_workflows
from kit.errors import DefinitionError
from kit.testing.gates.contracts import FILE, Finding, Lock, Service, Severity, Verdict, check, relock

contracts = App(
    name="contracts", help="Lock the contracts of a service, and refuse changes that strand runs in flight."
)

Flag = Annotated[bool, Parameter(negative="")]

_MOST_SHOWN: Final = 400
"""Characters of one value; the rest stands in the JSON."""


@contracts.command(name="lock")
async def write_lock(*, accept: str | None = None, base: str | None = None) -> int:
    """Write the contracts of the service to contracts.lock. Commit it.

    A change that would strand runs in flight is not written unless it is accepted: exit code 1, and why.

    Args:
        accept: Write breaking changes as well, for this reason. It is kept in the file, where reviewers see it.
        base: Compare with the lock as committed there, such as origin/main, instead of the file.
    """
    path = find_folder() / FILE
    known = Lock.read(path) if path.exists() else None
    locked = known if base is None else await _committed(path, base)
    service = _service()
    lock, verdict = relock(locked, service, why=accept)
    _show(verdict)
    if accept is None and verdict.of(Severity.BREAKING):
        print(f'{FILE} is left as it was. To take this upon yourself: kit contracts lock --accept "<why>"')
        return 1
    if base is not None and known is not None:
        entries = dict.fromkeys((*known.accepted, *lock.accepted))
        lock = lock.model_copy(update={"accepted": tuple(entries)})
    text = lock.text()
    same = known is not None and path.read_text(encoding="utf-8") == text
    path.write_text(text, encoding="utf-8")
    print(f"{FILE} {'is up to date' if same else 'is written'}: {_size(lock)}.")
    return 0


@contracts.command(name="check")
async def check_lock(*, base: str | None = None, strict: Flag = False, json: Flag = False) -> int:
    """Compare the contracts of the service with contracts.lock.

    The exit code is 0 when nothing strands runs in flight and the lock is up to date, 1 when not, 2 when there is no
    lock to compare with.

    Args:
        base: Compare with the lock as committed there, such as origin/main: that is what runs in flight were promised.
            What the lock of now accepts is accepted.
        strict: Fail on changes that need care as well.
        json: Print one JSON document.
    """
    path = find_folder() / FILE
    locked = Lock.read(path)
    service = _service()
    if base is None:
        verdict = check(locked, service)
    else:
        verdict = check(await _committed(path, base), service, accepted=locked.accepted)
    stale = verdict.stale and base is None
    failed = bool(verdict.of(Severity.BREAKING) or stale or (strict and verdict.of(Severity.CAREFUL)))
    if json:
        print(json_format.dumps({"ok": not failed, **verdict.plain(), "stale": stale}, indent=2))
        return int(failed)
    _show(verdict)
    if stale:
        print(f"{FILE} does not say what the code says. Look at the changes, then: kit contracts lock")
    if not failed:
        print(f"The contracts hold: {_size(locked)}.")
    return int(failed)


def _service() -> Service:
    return Service(workflows=find_workflows(), connectors=find_connectors())


async def _committed(path: Path, base: str) -> Lock:
    """The lock as committed at a revision.

    Raises:
        DefinitionError: git does not have it.
    """
    process = await asyncio.create_subprocess_exec(
        *("git", "-C", str(path.parent), "show", f"{base}:./{path.name}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    text, said = await process.communicate()
    if process.returncode:
        raise DefinitionError(
            f"{path.name} at {base!r}",
            rule=f"git cannot show it: {said.decode(errors='replace').strip()}",
            fix="fetch the revision (in CI: the whole history), or commit a lock there first",
        )
    return Lock.parse(text.decode(), where=f"{path.name} at {base!r}")


def _show(verdict: Verdict) -> None:
    for severity in Severity:
        for finding in verdict.of(severity):
            _tell(finding)
    for finding, why in verdict.accepted:
        print(f"accepted {finding.change.value}: {finding.subject}\n  why  {why}\n")


def _tell(finding: Finding) -> None:
    print(f"{finding.severity.value.upper()} {finding.change.value}: {finding.subject}")
    for name, text in (
        ("was", finding.was),
        ("now", finding.now),
        ("seen", finding.detail),
        ("why", finding.rule.reason),
        ("fix", finding.rule.fix),
    ):
        if text:
            shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]} …"
            print(f"  {name:<4} {shown}")
    print()


def _size(lock: Lock) -> str:
    counted = (("operation", len(lock.operations)), ("workflow", len(lock.workflows)))
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in counted)
