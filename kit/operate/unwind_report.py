"""What unwinds would do and what came of them, in words: lines for a terminal, Markdown and JSON for the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from kit.operate.unwinding import Fate, Plan, State, Target
from kit.workflow.unwound import Effects, RecordedEffect, unwind_id

UNDO = "undo"
ASK = "ask"
SEAL = "seal"
GIVE_UP = "give up"
KEPT = "kept"
CANNOT = "cannot"
"""What an unwind would do about an effect. A closed vocabulary of the JSON document."""


def verb_of(effect: RecordedEffect) -> str:
    """What an unwind would do about one effect."""
    if effect.kept is not None:
        return KEPT
    if effect.problem is not None:
        return CANNOT
    if effect.shared_with:
        return GIVE_UP
    if effect.state == "refused":
        return SEAL
    return UNDO if effect.effect is not None and effect.effect.undoable else ASK


def words_of(effect: RecordedEffect) -> str:
    """The same in a sentence."""
    match verb_of(effect):
        case "kept":
            return f"stays: {effect.kept}"
        case "cannot":
            return f"left: {effect.problem}"
        case "give up":
            return f"gives up its share; stays for {', '.join(effect.shared_with)}"
        case "seal":
            return "did not happen; its key is closed to late attempts"
        case "ask":
            why = effect.effect.name if effect.effect else "unknown"
            before = "; what came before it waits for the answer" if effect.final else ""
            return f"asks {effect.owner}: {why} has no undo{before}"
        case _:
            return effect.undo if effect.result is not None or effect.state == "done" else f"looks it up, {effect.undo}"


def all_effects(effects: Effects) -> list[RecordedEffect]:
    """The effects of a run and of its child sagas, as far as they are known here."""
    below = [each for child in effects.children if child.remains for each in all_effects(child.remains)]
    return [*effects.effects, *below]


def told_plan(plans: Sequence[Plan]) -> list[str]:
    """What unwinds would do, run by run."""
    lines = []
    for plan in plans:
        lines.append(f"{plan.target.saga}  {_about(plan.target)}")
        if plan.effects.refused is not None:
            lines.append(f"    REFUSED: {plan.effects.refused}")
        elif plan.effects.nothing_to_do:
            lines.append("    nothing to undo")
        lines += [f"    {each.summary}  [{each.key}]  -> {words_of(each)}" for each in all_effects(plan.effects)]
        lines += [
            f"    child saga {child.saga}  -> unwound by the workers of {child.task_queue!r}"
            for child in plan.effects.children
            if child.remains is None
        ]
        if plan.effects.others:
            lines.append(f"    {plan.effects.others} effects of other runs of this workflow id are left out")
    return [*lines, "", total(plans)]


def total(plans: Sequence[Plan]) -> str:
    """All plans in a line."""
    going = [plan for plan in plans if plan.effects.refused is None]
    verbs = Counter(verb_of(each) for plan in going for each in all_effects(plan.effects))
    refused = len(plans) - len(going)
    parts = [f"{verbs[UNDO]} effects would be undone", f"{verbs[ASK]} put to a person"]
    parts += [f"{verbs[verb]} {verb}" for verb in (GIVE_UP, SEAL, KEPT, CANNOT) if verbs[verb]]
    return f"{len(plans)} runs: {', '.join(parts)}" + (f"; {refused} runs refused" if refused else "")


def told(fates: Sequence[Fate]) -> list[str]:
    """What came of unwinds, run by run."""
    lines = []
    for fate in fates:
        unwound = fate.unwound
        counts = (
            f"{len(unwound.undone)} undone, {len(unwound.nothing)} nothing, {len(unwound.left)} left" if unwound else ""
        )
        lines.append(f"{fate.target.saga}  {fate.state}" + "".join(f": {part}" for part in (counts, fate.why) if part))
        lines += [f"    left {key}: {why}" for key, why in (unwound.reasons if unwound else {}).items()]
    return [*lines, "", summary(fates)]


def summary(fates: Sequence[Fate]) -> str:
    """All fates in a line."""
    states = Counter(fate.state for fate in fates)
    undone = sum(len(fate.unwound.undone) for fate in fates if fate.unwound)
    return f"{len(fates)} runs: " + ", ".join(
        [*(f"{states[state]} {state}" for state in State if states[state]), f"{undone} effects undone"]
    )


def markdown(fates: Sequence[Fate], *, who: str, why: str, at: datetime) -> str:
    """The report for people."""
    lines = [
        "# Unwind",
        "",
        f"By {who}, {at.isoformat(timespec='seconds')}: {why}",
        "",
        summary(fates) + ".",
        "",
        "| run | closed | result | undone | nothing there | left | why |",
        "|---|---|---|---|---|---|---|",
    ]
    for fate in fates:
        unwound = fate.unwound
        cells = [
            f"`{fate.target.saga}`",
            fate.target.closed_as or "",
            fate.state.value,
            *(_keys(keys) for keys in ((unwound.undone, unwound.nothing, unwound.left) if unwound else ((), (), ()))),
            "; ".join([fate.why, *(unwound.reasons.values() if unwound else ())]).strip("; ").replace("|", "\\|"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    open_ = [fate for fate in fates if fate.state is State.PARKED]
    if open_:
        lines += ["", "Open: " + ", ".join(f"`{unwind_id(fate.target.saga)}`" for fate in open_) + "."]
    return "\n".join(lines) + "\n"


def document(plans: Sequence[Plan], fates: Sequence[Fate], *, who: str, why: str, at: datetime) -> dict[str, Any]:
    """The report for machines. Without fates: of what would be done."""
    known = {fate.target.saga: fate for fate in fates}
    return {
        "who": who,
        "why": why,
        "at": at.isoformat(),
        "carried_out": bool(fates),
        "runs": [_run(plan, known.get(plan.target.saga)) for plan in plans],
    }


def _run(plan: Plan, fate: Fate | None) -> dict[str, Any]:
    target = plan.target
    unwound = fate.unwound.model_dump(mode="json", exclude={"saga"}) if fate and fate.unwound else None
    return {
        "workflow_id": target.saga,
        "run_id": target.run_id,
        "workflow_type": target.workflow_type,
        "closed_as": target.closed_as,
        "refused": plan.effects.refused,
        "effects": [
            {
                "key": each.key,
                "operation": each.operation,
                "summary": each.summary,
                "workflow_id": each.saga,
                "state": each.state,
                "would": verb_of(each),
                "undo": each.undo or None,
                "owner": each.owner,
            }
            for each in all_effects(plan.effects)
        ],
        "state": fate.state.value if fate else None,
        "why": fate.why if fate else None,
        "unwound": unwound,
    }


def _about(target: Target) -> str:
    closed = target.closed_as or "no run known"
    when = f" {target.closed_at.isoformat(timespec='seconds')}" if target.closed_at else ""
    return ", ".join(filter(None, (target.workflow_type, closed + when)))


def _keys(keys: Iterable[str]) -> str:
    return "<br>".join(f"`{key}`" for key in keys)
