"""A counterexample as a test: red as long as the defect is there, green when it is mended."""

from __future__ import annotations

import re
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from kit.errors import DefinitionError
from kit.testing.naming import where as where_of
from kit.testing.sweep.verdict import Counterexample
from kit.testing.world import Subject

_TEMPLATE: Final = '''\
"""{workflow} under {scenario}.

A sweep found that an invariant does not hold:

{broken}

``{command}`` tells the story.
"""

import asyncio

{imports}

SCENARIO = "{scenario}"


def test_{name}() -> None:
    """Every invariant of {workflow} holds under the scenario."""
    subject = {subject}

    run = asyncio.run(run_scenario(subject, SCENARIO, strict=False))

    assert not run.violations
'''


def write_test(counterexample: Counterexample, path: Path | str, *, subject: Subject) -> Path:
    """Write a pytest file that runs one scenario and asserts that every invariant holds.

    It imports the subject from the module that has it as an attribute. One that was put together in a test is put
    together again from its parts; then its request must be a pydantic model.

    Args:
        counterexample: What a sweep found.
        path: The file, or an existing folder for it. A file that is there is overwritten.
        subject: What was under faults.

    Returns:
        The file.

    Raises:
        DefinitionError: A part of the subject cannot be imported by name.
        OSError: It cannot be written.
    """
    scenario = str(counterexample.scenario)
    workflow = counterexample.run.workflow
    name = re.sub(r"\W+", "_", f"{workflow}_{scenario}").strip("_").lower()
    imports = _Imports()
    text = _TEMPLATE.format(
        workflow=workflow,
        scenario=scenario,
        broken="\n".join(dict.fromkeys(f"- {one.invariant}: {one.text}" for one in counterexample.run.violations)),
        command=counterexample.command.replace("--only", "--explain"),
        name=name,
        subject=_written(subject, imports),
        imports=imports,
    )
    target = Path(path)
    if target.is_dir():
        target /= f"test_{name}.py"
    target.write_text(text, encoding="utf-8")
    return target


class _Imports:
    """The imports of a file, as they are needed."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {"kit.testing": {"run_scenario"}}

    def of(self, thing: Any, what: str) -> str:
        """How the file names a thing, once it has imported it."""
        where = where_of(thing)
        if where is None:
            raise DefinitionError(
                f"{what} {thing!r}",
                rule="no module has it as an attribute, so that a test cannot import it",
                fix="define it at the top of a module, under a name",
            )
        module, name = where
        return self.take(module, name)

    def take(self, module: str, name: str) -> str:
        self._names.setdefault(module, set()).add(name.partition(".")[0])
        return name

    def __str__(self) -> str:
        """The import statements, in order."""
        lines = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(self._names.items())]
        return "\n".join(lines)


def _written(subject: Subject, imports: _Imports) -> str:
    if (where := where_of(subject)) is not None:
        return imports.take(*where)
    parts = []
    for field in fields(Subject):
        value = getattr(subject, field.name)
        if value == field.default:
            continue
        if field.name == "request" and isinstance(value, BaseModel):
            model = imports.of(type(value), "request")
            parts.append(f"request={model}.model_validate_json({value.model_dump_json()!r})")
        elif field.name in ("invariants", "others"):
            parts.append(f"{field.name}=({''.join(f'{imports.of(one, field.name)}, ' for one in value)})")
        elif isinstance(value, Enum):
            parts.append(f"{field.name}={imports.of(type(value), field.name)}.{value.name}")
        elif value is None:
            parts.append(f"{field.name}=None")
        else:
            parts.append(f"{field.name}={imports.of(value, field.name)}")
    imports.take("kit.testing", "Subject")
    return f"Subject({', '.join(parts)})"
