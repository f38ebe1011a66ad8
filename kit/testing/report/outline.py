"""The side-effect map as text, for a terminal of any width."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from kit.testing.report import words
from kit.testing.report.graph import BANDS, described
from kit.testing.report.rollback import claims
from kit.testing.report.side_effects import SideEffect, SideEffectMap


def outline(found: SideEffectMap) -> str:
    """The effects in order, each with how it is kept to one and undone; then how far all can be taken back."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: SideEffectMap) -> Iterator[str]:
    yield f"{found.workflow} ({found.file})"
    yield (
        f"owner {found.owner}, deadline {words.span(found.deadline)}, replay window {words.span(found.replay_window)}"
        + (", pinned to its version" if found.pinned else "")
    )
    wide = max((len(effect.operation.name) for effect in found.effects), default=0)
    for phase, groups in groupby(found.groups, key=lambda group: group[0].phase):
        yield ""
        yield BANDS[phase]
        for group in groups:
            for index, effect in enumerate(group):
                yield from _effect(effect, mark=_mark(index, len(group)), wide=wide)
    yield ""
    for claim in claims(found):
        yield f"{claim.topic}: {claim.text}"
        yield from (f"  - {reason}" for reason in claim.because)


def _mark(index: int, of: int) -> str:
    """What runs at once is held together by a bracket."""
    if of == 1:
        return "  "
    return "┌ " if index == 0 else "└ " if index == of - 1 else "├ "


def _effect(effect: SideEffect, *, mark: str, wide: int) -> Iterator[str]:
    operation = effect.operation
    kind, once, undo = described(effect)
    before = "│ " if mark in ("┌ ", "├ ") else "  "
    said = f"{kind}, once {once}" if operation.once else kind
    yield f"{mark}{operation.name:<{wide}}  {said}" + (f", line {effect.line}" if effect.line else "")
    if operation.key is not None:
        yield f"{before}  key {operation.key}"
    facts = [undo, *([f"look-up: {effect.probe}"] if effect.probe else [])]
    yield f"{before}  {', '.join(facts)}"
    system = operation.dependency
    settles = f"settles in {words.span(system.settle)}" if system.settle else "settles at once"
    yield f"{before}  {system.name} {settles}, owner {operation.owner}"
