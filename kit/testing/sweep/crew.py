"""Who carries the pieces of a sweep out: this process, or several others. What comes of it is the same."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing.util
import os
import pickle
import signal
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self

from kit.errors import DefinitionError
from kit.testing.engines.protocol import Engine, Foreseeing
from kit.testing.sweep.checking import Runner
from kit.testing.sweep.running import Found, Piece, carry_out
from kit.testing.world import Subject

WAITING_PIECES: Final = 3
"""How many pieces are ready for each process, so that it never waits for this one."""

IN_HAND: Final = 2
"""How many pieces another process has got: one that it carries out, and one more."""

AT_ONCE: Final = 8
"""How many pieces are given at the same time to an engine that waits for a server: more than it runs at once."""


class Crew(Protocol):
    """Carries pieces out."""

    def carry_out(self, pieces: Iterator[Piece]) -> AsyncIterator[list[Found]]:
        """Carry pieces out; the answers come in the order of the pieces."""


@dataclass(slots=True)
class Alone:
    """This process.

    Args:
        runner: Runs the scenarios.
    """

    runner: Runner

    async def carry_out(self, pieces: Iterator[Piece]) -> AsyncIterator[list[Found]]:
        """Carry pieces out, in order; an engine that waits for a server gets several at the same time."""
        if isinstance(self.runner.engine, Foreseeing):
            for piece in pieces:
                yield await carry_out(piece, runner=self.runner)
            return

        def start(piece: Piece) -> Awaitable[list[Found]]:
            return asyncio.create_task(carry_out(piece, runner=self.runner))

        async for found in _in_order(pieces, start=start, at_once=AT_ONCE):
            yield found


class Processes:
    """Several processes, each with its own engine.

    They are started afresh and share nothing with this one: what describes the subject must be importable by name.
    They say nothing: what they log is of attempts that were meant to fail. They end with this process, whatever ends
    it; an interrupt (Ctrl-C) is this one's to answer, and theirs to finish their piece and go.

    This process is one of them, and carries pieces out itself: it has all that it takes in memory, and to start another
    takes seconds.

    Args:
        engine: Builds the engine of a process; importable by name.
        runner: This process's own.
        workers: How many processes, two at least. What describes the runner's subject is importable by name.
    """

    def __init__(self, engine: Callable[[], Engine], runner: Runner, *, workers: int) -> None:
        _check(engine, runner.subject)
        self._workers = workers
        self._runner = runner
        self._hands: list[asyncio.Task[None]] = []
        # Not "fork": the event loop and the threads of this process would be in the child, half alive.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(
            workers - 1, mp_context=context, initializer=_begin, initargs=(engine, runner.subject, list(sys.path))
        )
        with _undisturbed():  # each of these starts a process
            for _ in range(workers - 1):
                self._pool.submit(os.getpid)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hand in self._hands:
            hand.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def carry_out(self, pieces: Iterator[Piece]) -> AsyncIterator[list[Found]]:
        """Carry pieces out in the processes; the answers come in the order of the pieces."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[tuple[Piece, asyncio.Future[list[Found]]]] = asyncio.Queue()

        def start(piece: Piece) -> Awaitable[list[Found]]:
            answer = loop.create_future()
            waiting.put_nowait((piece, answer))
            return answer

        others = [self._elsewhere] * ((self._workers - 1) * IN_HAND)
        self._hands = [asyncio.create_task(_work(waiting, carry)) for carry in (self._here, *others)]
        async for found in _in_order(pieces, start=start, at_once=self._workers * WAITING_PIECES):
            yield found
        for hand in self._hands:
            hand.cancel()

    async def _here(self, piece: Piece) -> list[Found]:
        return await carry_out(piece, runner=self._runner)

    async def _elsewhere(self, piece: Piece) -> list[Found]:
        with _undisturbed():  # this may be what starts a process
            answer = asyncio.get_running_loop().run_in_executor(self._pool, _answer, piece)
        return await answer


async def _work(
    waiting: asyncio.Queue[tuple[Piece, asyncio.Future[list[Found]]]], carry: Callable[[Piece], Awaitable[list[Found]]]
) -> None:
    """Take one piece after the other, whoever is free."""
    while True:
        piece, answer = await waiting.get()
        try:
            answer.set_result(await carry(piece))
        except asyncio.CancelledError:
            answer.cancel()  # else whoever waits for it would wait for ever
            raise
        except Exception as error:  # it is for whoever waits for the answer, and for nobody if nobody does any more
            answer.set_exception(error)
            answer.exception()


def _check(engine: Callable[[], Engine], subject: Subject) -> None:
    try:
        pickle.dumps((engine, subject))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise DefinitionError(
            f"sweep of {subject.workflow.__name__} with several workers",
            rule=f"what describes it cannot be sent to another process: {error}",
            fix="define world, invariants and engine at the top of a module; or leave workers out",
        ) from error


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep interrupts from a process that is started here until it has begun; in this one they come a moment later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def _in_order(
    pieces: Iterator[Piece], *, start: Callable[[Piece], Awaitable[list[Found]]], at_once: int
) -> AsyncIterator[list[Found]]:
    underway: deque[Awaitable[list[Found]]] = deque()
    for piece in pieces:
        underway.append(start(piece))
        if len(underway) >= at_once:
            yield await underway.popleft()
    while underway:
        yield await underway.popleft()


# -- in a process of its own ---------------------------------------------------------------------------------------

_here: dict[str, Any] = {}
"""This process's loop and runner. A process of a pool has no other place for what it keeps between pieces."""


def _begin(engine: Callable[[], Engine], subject: Subject, path: list[str]) -> None:
    sys.path[:] = path
    # Attempts are meant to fail here, and nobody said where this process logs to: not among the lines of the verdict.
    logging.disable(logging.CRITICAL)
    _overhear_interrupts()
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    loop = asyncio.new_event_loop()
    entered = engine()
    _here.update(loop=loop, runner=Runner(loop.run_until_complete(entered.__aenter__()), subject))
    # `atexit` is silent in a process of a pool.
    multiprocessing.util.Finalize(None, _end, exitpriority=10)


def _overhear_interrupts() -> None:
    # Not SIG_IGN: a server that is started here would inherit it, and could not be stopped by an interrupt.
    signal.signal(signal.SIGINT, lambda *_: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _leave_with_parent() -> None:
    """End at once when the process that hands the pieces out is gone: nobody else would ever end this one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _end() -> None:
    _here["loop"].run_until_complete(_here["runner"].engine.__aexit__(None, None, None))


def _answer(piece: Piece) -> list[Found]:
    found: list[Found] = _here["loop"].run_until_complete(carry_out(piece, runner=_here["runner"]))
    return found
