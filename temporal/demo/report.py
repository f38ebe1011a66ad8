"""What the demo says: a live table at a terminal, lines elsewhere, a JSON document for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kit.testing.sandbox import Provider
from temporal.demo.evidence import Seen, Shop, Verdict
from temporal.demo.stories import Ended, Ending, Story

PROVIDERS: Final = {
    Provider.PAYMENTS: "payments",
    Provider.STOCK: "stock",
    Provider.WEBHOOKS: "fulfilment",
    Provider.SMTP: "e-mail",
}
"""The external systems, as they are called here."""

WIDE: Final = 110
"""From this many characters on the table has a column for each of them."""


@dataclass
class Row:
    """One order on its way.

    Attributes:
        story: What is played.
        order_id: Its id, and its workflow's.
        started: Whether it was submitted.
        ended: How it ended, once it has.
        seen: What the providers recorded so far.
        shop: What the service's own database says, once it has ended.
        problems: What is wrong with it.
    """

    story: Story
    order_id: str
    started: bool = False
    ended: Ended | None = None
    seen: Seen = field(default_factory=Seen)
    shop: Shop | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """How it stands, in a word or two."""
        if self.ended is None:
            return "running" if self.started else "waiting"
        match self.ended.outcome:
            case Ending.COMPLETED:
                return "completed"
            case Ending.UNDONE:
                return f"undone: {self.ended.reason}"
            case Ending.CANCELLED:
                return "undone: cancelled"
            case Ending.OTHER:
                return f"failed: {self.ended.reason}"

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be known besides."""
        return self.ended.remarks if self.ended else ()

    @property
    def mark(self) -> str:
        """Whether it is as it should be."""
        return " " if self.ended is None else "✗" if self.problems else "✓"


class Report:
    """Lines: one block per order as it ends. The base of the others."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._told: set[str] = set()

    def begin(self, rows: Sequence[Row]) -> None:
        """The orders are about to be submitted."""

    def say(self, *lines: str) -> None:
        """Say something beside the orders."""
        for line in lines:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def update(self, rows: Sequence[Row]) -> None:
        """Something has changed."""
        for row in rows:
            if row.ended is not None and row.shop is not None and row.order_id not in self._told:
                self._told.add(row.order_id)
                self._tell(row)

    def end(self, rows: Sequence[Row]) -> None:
        """All orders have ended, or nothing more will come."""
        self.update(rows)

    def document(self, document: dict[str, Any]) -> None:
        """The machine-readable result."""

    def _tell(self, row: Row) -> None:
        self.say("", f"{row.mark} {row.order_id}: {row.state}", f"    {row.story.title}")
        cells = [(name, row.seen.cell(provider) or "-") for provider, name in PROVIDERS.items()]
        for name, cell in [*cells, ("shop", str(row.shop))]:
            self.say(f"    {name:<11} {cell}")
        for remark in row.remarks:
            self.say(f"    {'note':<11} {remark}")
        for problem in row.problems:
            self.say(f"    {'WRONG':<11} {problem}")


class LiveReport(Report):
    """A table that follows the orders."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="ellipsis")

    def begin(self, rows: Sequence[Row]) -> None:
        """See base class."""
        self._live.start()
        self.update(rows)

    def update(self, rows: Sequence[Row]) -> None:
        """See base class."""
        self._live.update(_table(rows, self.console.width), refresh=True)

    def end(self, rows: Sequence[Row]) -> None:
        """See base class."""
        if self._live.is_started:
            self.update(rows)
            self._live.stop()


class JsonReport(Report):
    """One JSON document on stdout, and everything else as lines on stderr."""

    def __init__(self) -> None:
        super().__init__(Console(stderr=True))

    def document(self, document: dict[str, Any]) -> None:
        """See base class."""
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        sys.stdout.flush()


def report_for(*, machine_readable: bool) -> Report:
    """The report that fits where it is read."""
    if machine_readable:
        return JsonReport()
    console = Console()
    return LiveReport(console) if console.is_terminal else Report(console)


_STYLE: Final = {"✓": "green", "✗": "bold red", " ": "dim"}


def _table(rows: Sequence[Row], width: int) -> Table:
    """All orders: a column per external system where there is room, else a line per system."""
    wide = width >= WIDE
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, expand=wide)
    table.add_column("", width=1)
    table.add_column("order", ratio=5 if wide else None)
    table.add_column("ended", ratio=3 if wide else None, overflow="fold")
    for name, ratio in [*zip(PROVIDERS.values(), (4, 2, 2, 2), strict=True), ("shop database", 3)] if wide else ():
        table.add_column(name, ratio=ratio)
    if not wide:
        table.add_column("what each system saw")
    for row in rows:
        about = Text.assemble((row.order_id, "bold"), "\n", (row.story.title, "dim"))
        for remark in row.remarks:
            about.append(f"\n{remark}", "cyan")
        for problem in row.problems:
            about.append(f"\n{problem}", "bold red")
        seen = [row.seen.cell(provider) for provider in PROVIDERS]
        shop = str(row.shop) if row.shop else ""
        told = zip((*PROVIDERS.values(), "shop"), (*seen, shop), strict=True)
        cells = [*seen, shop] if wide else ["\n".join(f"{name}: {cell}" for name, cell in told if cell)]
        table.add_row(Text(row.mark, _STYLE[row.mark]), about, Text(row.state, "" if row.ended else "dim"), *cells)
        table.add_row()
    return table


def verdict_lines(verdict: Verdict) -> list[str]:
    """The verdict in words."""
    lines = ["", "Verdict, from the providers' own records only"]
    lines += [f"  {'✓' if well else '✗'} {text}" for well, text in verdict.lines]
    agrees, text = verdict.shop
    lines += ["Beside it, the shop's own database", f"  {'✓' if agrees else '✗'} {text}"]
    lines += [f"  ✗ {problem}" for problem in verdict.problems]
    lines.append("All is well." if verdict.ok else "NOT WELL: see above.")
    return lines


def document_of(rows: Sequence[Row], verdict: Verdict, *, server: dict[str, Any]) -> dict[str, Any]:
    """The machine-readable result."""
    return {
        "server": server,
        "orders": [_order(row) for row in rows],
        "verdict": {
            "ok": verdict.ok,
            "findings": [{"ok": well, "text": text} for well, text in verdict.lines],
            "shop": {"ok": verdict.shop[0], "text": verdict.shop[1]},
            "problems": list(verdict.problems),
        },
    }


def _order(row: Row) -> dict[str, Any]:
    ended = row.ended
    return {
        "order_id": row.order_id,
        "workflow_id": row.order_id,
        "run_id": ended.run_id if ended else None,
        "story": row.story.name,
        "title": row.story.title,
        "promise": row.story.promise,
        "status": ended.status if ended else None,
        "outcome": ended.outcome.value if ended else None,
        "expected": row.story.ending.value,
        "reason": ended.reason if ended else None,
        "answers": [answer.model_dump(mode="json") for answer in ended.answers] if ended else [],
        "effects": {
            provider.value: [
                effect.model_dump(mode="json", exclude={"provider"})
                for effect in row.seen.effects
                if effect.provider is provider
            ]
            for provider in PROVIDERS
        },
        "calls": [
            call.model_dump(mode="json", include={"provider", "operation", "status", "fault", "note"})
            for call in row.seen.calls
        ],
        "shop": {"order": row.shop.order, "cart": row.shop.cart} if row.shop else None,
        "remarks": list(ended.remarks) if ended else [],
        "problems": row.problems,
        "ok": ended is not None and not row.problems,
    }
