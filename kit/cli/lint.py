"""``kit lint``: what can be seen to be unsafe in workflow and connector sources without running them."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from kit.cli.discovery import find_folder, find_sources
from kit.testing.gates.lint import Finding
from kit.testing.gates.lint import lint as lint_files

lint = App(name="lint", help="Check workflow and connector sources for what is unsafe by its looks.")


@lint.default
def lint_sources(*paths: Path, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Check workflow and connector sources for what is unsafe by its looks.

    The exit code is 0 when nothing was found, 1 when something was, 2 when a file cannot be read. What is right all the
    same is marked on its line: # kit: ignore[KIT004] <why>

    Args:
        paths: Files and folders; by default the `sources` of [tool.kit].
        json: Print one JSON document.
    """
    report = lint_files(paths or find_sources(), root=find_folder())
    if json:
        document = {"files": report.files, "findings": [finding.plain() for finding in report.findings]}
        print(json_format.dumps(document, indent=2))
        return int(bool(report.findings))
    for finding in report.findings:
        print(f"{_shown(finding.path)}:{finding.line}:{finding.column}: {finding.code} {finding.message}")
        print(f"    fix: {finding.fix}")
    print(f"{_counted(report.findings)} in {report.files} {'file' if report.files == 1 else 'files'}.")
    return int(bool(report.findings))


def _shown(path: Path) -> Path:
    """Relative where it lies below the current folder, as an editor makes links of it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _counted(findings: tuple[Finding, ...]) -> str:
    count = len(findings)
    return "Nothing found" if count == 0 else f"Found {count} {'breach' if count == 1 else 'breaches'}"
