"""The demo from beginning to end: set up, play the orders, judge, and leave nothing behind."""

from __future__ import annotations

import asyncio
import dataclasses
import json as jsonlib
import logging
import shutil
import signal
import tempfile
import time
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from temporalio.runtime import Runtime, TelemetryConfig

from activities.orders.tables import cart_status, open_cart, order_status
from kit.testing import temporal_binary
from temporal.demo import accounts, cancellations, release
from temporal.demo.accounts import Accounts
from temporal.demo.cancellations import Cancellations
from temporal.demo.evidence import Seen, Shop, Verdict, judge, judge_shop, verdict
from temporal.demo.release import BY_HAND, ORDERS, Release
from temporal.demo.report import Report, Row, document_of, report_for, verdict_lines
from temporal.demo.stage import Stage
from temporal.demo.stories import AMOUNT, CURRENCY, SKU, STORIES, Story

TIMEOUT: Final = timedelta(seconds=240)
"""Nothing that is played takes longer; what does is given up, with what was seen so far."""

_log = logging.getLogger("temporal.demo")

_REFRESH: Final = 0.2  # seconds between two looks at the providers' records, for the live table
_LAST_WORDS: Final = 1.0  # seconds in which a process that has died is noticed


async def run(*, once: bool, json: bool) -> int:
    """Run the demo.

    SIGINT, SIGTERM and SIGHUP end it at any time, and it ends what it has started.

    Args:
        once: End after the verdict; otherwise everything stays up until a signal comes.
        json: Print one JSON document on stdout, and everything else on stderr.

    Returns:
        0 when all is well, 1 when something is not, 128 + the signal's number when stopped in the middle.
    """
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=None)), error_if_already_set=False)
    report = report_for(machine_readable=json)
    folder = Path(tempfile.mkdtemp(prefix="kit-demo-"))
    logging.basicConfig(filename=folder / "demo.log", level=logging.INFO, force=True)
    logging.captureWarnings(capture=True)
    demo = _Demo(report, folder, once=once)
    task = asyncio.ensure_future(demo.run())
    caught: list[int] = []

    def stop(number: int) -> None:
        caught.append(number)
        if len(caught) == 1:  # the ending takes its time, and is not ended by a second Ctrl-C
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop, number)
    try:
        code = await task
    except asyncio.CancelledError:
        code = demo.code if demo.code is not None else 128 + (caught[0] if caught else signal.SIGINT)
        report.say("", "Stopped. Nothing is left running.")
    except Exception as error:  # the demo ends here, whatever it was: said in a sentence, and in full in its log
        _log.exception("The demo could not go on.")
        report.say("", f"The demo could not go on. {str(error) or type(error).__name__}")
        code = 1
    if code == 1:
        report.say(f"Logs and databases are kept: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return code


class _Demo:
    """One run."""

    def __init__(self, report: Report, folder: Path, *, once: bool) -> None:
        self.report = report
        self.folder = folder
        self.once = once
        self.accounts = Accounts()
        self.cancellations = Cancellations()
        self.release = Release([(False, f"the orders of the bad build were not unwound within {TIMEOUT.seconds} s")])
        self.code: int | None = None

    async def run(self) -> int:
        began = time.monotonic()
        async with Stage.open(self.folder) as stage:
            self._welcome(stage)
            await stage.start_worker()
            watching = asyncio.ensure_future(stage.watch())
            playing = asyncio.ensure_future(self._play(stage, began))
            try:
                # Whichever comes first: the watch ends only by raising.
                await asyncio.wait([watching, playing], return_when=asyncio.FIRST_COMPLETED)
                if not playing.done() or playing.exception() is not None:
                    # What fails in the play may only be how a dead process shows there: its own end says more.
                    await asyncio.wait([watching], timeout=_LAST_WORDS)
                    if watching.done():
                        await watching
                self.code = await playing
                if not self.once:
                    self.report.say("", "Everything stays up. Ctrl-C ends it.")
                    await watching
            finally:
                for task in (playing, watching):
                    task.cancel()
                await asyncio.gather(playing, watching, return_exceptions=True)
        return self.code

    def _welcome(self, stage: Stage) -> None:
        server = stage.server
        if server.ui_url is not None:
            self.report.say(f"Temporal Web UI   {server.ui_url}  (an embedded development server)")
        else:
            self.report.say(
                f"Temporal          {server.address}, namespace {server.namespace}: configured by TEMPORAL_ADDRESS or "
                "a profile, so no server is started. Its Web UI is where you know it to be."
            )
        self.report.say(
            f"Providers         {stage.sandbox.url}  (their records: {stage.sandbox.url}/_control/effects)",
            f"Logs, databases   {self.folder}",
            "",
            "Payments, stock, fulfilment and e-mail are sandboxes on real sockets. Each order below",
            "meets its own trouble. What a provider saw of it is read from that provider's own record.",
        )

    async def _play(self, stage: Stage, began: float) -> int:
        await stage.worker_is_up()
        set_up = time.monotonic() - began
        rows = [Row(story, story.order_id(stage)) for story in STORIES]
        following = asyncio.ensure_future(self._follow(stage, rows))
        try:
            async with asyncio.timeout(TIMEOUT.total_seconds()):
                await self._stories(stage, rows)
        except TimeoutError:
            for row in rows:
                if row.ended is None:
                    row.problems.append(f"{row.order_id!r} did not end within {TIMEOUT.seconds} s")
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
            self.report.end(rows)
        took = time.monotonic() - began - set_up
        result = _verdict(rows, [*self.cancellations.lines, *self.accounts.lines, *self.release.lines])
        self.report.say(
            *self.accounts.block,
            *verdict_lines(result),
            f"Everything took {took:.1f} s, after {set_up:.1f} s of set-up.",
        )
        await self._what_next(stage, rows)
        document = document_of(rows, result, server=_server(stage))
        further = {"cancellations": self.cancellations.document, "account": self.accounts.document}
        self.report.document({**document, **further, "release": self.release.document})
        return 0 if result.ok else 1

    async def _stories(self, stage: Stage, rows: Sequence[Row]) -> None:
        """What needs the worker as it is, all at once; then it is killed, and a bad build takes over."""
        together = [self._order(stage, row) for row in rows if not row.story.alone]
        await _at_once(accounts.play(stage, self.accounts), cancellations.play(stage, self.cancellations), *together)
        self.report.say(
            "",
            "The worker is killed, and a bad build takes over.",
            f"It completes {ORDERS} orders more, {BY_HAND} are refunded by hand, all of them are unwound.",
        )
        await _at_once(self._one_by_one(stage, rows), self._reversal(stage))

    async def _one_by_one(self, stage: Stage, rows: Sequence[Row]) -> None:
        """Those that kill the worker."""
        for row in rows:
            if row.story.alone:
                await self._order(stage, row)

    async def _reversal(self, stage: Stage) -> None:
        """The bad release, as soon as nobody but its worker can take an order."""
        await stage.taken_over.wait()
        self.release = await release.play(stage)
        (self.folder / "unwind.md").write_text(self.release.markdown, encoding="utf-8")

    async def _order(self, stage: Stage, row: Row) -> None:
        """Play one order, then look at what is left of it."""
        await row.story.set_scene(stage)
        row.started = True
        ended = await row.story.run(stage)
        row.seen = await _look(stage, row)
        row.shop = Shop(
            await order_status(stage.shop, row.order_id), await cart_status(stage.shop, row.story.cart_id(stage))
        )
        row.problems += judge(row.story, row.order_id, ended, row.seen)
        row.problems += judge_shop(row.order_id, ended, row.shop)
        row.ended = ended

    async def _follow(self, stage: Stage, rows: Sequence[Row]) -> None:
        """Keep what is shown up to date."""
        self.report.begin(rows)
        journal = stage.sandbox.app.exchange.journal
        while any(row.ended is None for row in rows):
            # In this process, which has them: several times a second, all of them are too many for HTTP.
            effects, calls = journal.effects(), journal.calls()
            for row in rows:
                if row.ended is None:
                    row.seen = Seen.of(row.order_id, effects, calls)
            self.report.update(rows)
            await asyncio.sleep(_REFRESH)
        self.report.update(rows)

    async def _what_next(self, stage: Stage, rows: Sequence[Row]) -> None:
        lines = ["", "What to try next"]
        undone = next((row for row in rows if row.story.name == "capture-refused" and row.ended), None)
        if self.once:
            lines.append("  Look around: run this without --once, and open the Web UI it names.")
        else:
            link = stage.server.link(undone.order_id, undone.ended.run_id) if undone and undone.ended else None
            if link is not None:
                lines.append(f"  See an order being undone: {link}")
            lines += await _your_turn(stage)
        if not self.once:
            lines.append(f"  What was unwound, order by order: {self.folder / 'unwind.md'}")
        lines.append("  Run the tests: scripts/test     Write your own: docs/tutorial/first-saga.md")
        self.report.say(*lines)


async def _at_once(*several: Coroutine[Any, Any, None]) -> None:
    """Do several things at once. The first that fails ends the others, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in several:
                group.create_task(each)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed


async def _look(stage: Stage, row: Row) -> Seen:
    control = stage.sandbox.control
    return Seen.of(row.order_id, await control.effects(), await control.calls())


def _verdict(rows: Sequence[Row], further: Sequence[tuple[bool, str]]) -> Verdict:
    played = [(row.ended, row.seen, row.shop) for row in rows if row.ended and row.shop]
    found = verdict(played, [problem for row in rows for problem in row.problems], of=len(rows))
    return dataclasses.replace(found, lines=(*found.lines, *further))


def _server(stage: Stage) -> dict[str, Any]:
    server = stage.server
    return {
        "address": server.address,
        "namespace": server.namespace,
        "embedded": server.embedded,
        "ui": server.ui_url,
        "providers": stage.sandbox.url,
    }


async def _your_turn(stage: Stage) -> list[str]:
    """Commands that break an order of the reader's own."""
    story = Story(name="yours", title="", promise="", ending=STORIES[0].ending)
    await open_cart(stage.shop, story.cart_id(stage))
    order_id = story.order_id(stage)
    fault = {"provider": "payments", "operation": "capture", "fault": "drop_reply", "times": 3, "match": order_id}
    order = {
        "order_id": order_id,
        "cart_id": story.cart_id(stage),
        "sku": SKU,
        "quantity": 1,
        "amount": AMOUNT,
        "currency": CURRENCY,
        "payment_method": "pm_card_visa",
        "email": "you@customer.example",
    }
    program = temporal_binary() or "temporal"
    where = f"--address {stage.server.address} --namespace {stage.server.namespace}"
    return [
        "  Try to break it. Script a fault, submit an order, and read what the providers saw:",
        f"    curl -s {stage.sandbox.url}/_control/faults -d '{jsonlib.dumps(fault)}'",
        f"    {program} workflow start {where} --task-queue {stage.settings.task_queue} --type Checkout "
        f"--workflow-id {order_id} --input '{jsonlib.dumps(order)}'",
        f"    curl -s '{stage.sandbox.url}/_control/effects?reference={order_id}'",
    ]
