"""Comments that suppress a finding: ``# kit: ignore[KIT004] <why>``. Without a reason they suppress nothing."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from kit.testing.gates.lint.findings import Finding
from kit.testing.gates.lint.source import Source

CODE: Final = "KIT000"

REASON: Final = "A suppression nobody can judge, or that no longer suppresses anything, hides the next finding."

FIX: Final = "write `# kit: ignore[<code>] <why it is right here>`, or drop it"

_COMMENT: Final = re.compile(r"#\s*kit:\s*ignore\b(?:\[(?P<codes>[^\]]*)\])?\s*(?P<why>.*)")


@dataclass(frozen=True, slots=True)
class Comment:
    """One such comment."""

    line: int
    column: int
    codes: frozenset[str]
    why: str


def comments(source: Source) -> Iterator[Comment]:
    """The suppressions of a file."""
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        found = _COMMENT.match(token.string) if token.type == tokenize.COMMENT else None
        if found is not None:
            codes = frozenset(code.strip() for code in (found["codes"] or "").split(",") if code.strip())
            yield Comment(token.start[0], token.start[1] + 1, codes, found["why"].strip(" -:"))


def suppressed(source: Source, findings: Iterable[Finding], *, known: Iterable[str]) -> Iterator[Finding]:
    """The findings that no comment suppresses, and those about the comments themselves."""
    left = list(findings)
    codes = set(known)
    for comment in comments(source):
        text = ""
        if not comment.codes:
            text = "the suppression names no rule"
        elif unknown := sorted(comment.codes - codes):
            text = f"there is no rule {unknown[0]}"
        elif not comment.why:
            text = f"the suppression of {', '.join(sorted(comment.codes))} has no reason"
        else:
            meant = [one for one in left if one.code in comment.codes and one.line <= comment.line <= one.last]
            left = [one for one in left if one not in meant]
            if unused := sorted(comment.codes - {one.code for one in meant}):
                text = f"nothing here breaks {unused[0]}"
        if text:
            yield Finding(source.path, comment.line, comment.column, CODE, text, FIX, last=comment.line)
    yield from (replace(one) for one in left)
