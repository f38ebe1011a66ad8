"""Virtual time: an event loop that never waits, and the seed that decides who is first at one instant."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn, Protocol, TypeVar, TypeVarTuple

from google.protobuf.timestamp_pb2 import Timestamp

from kit.testing.engines.simulation.garbage import collected_at_the_end
from kit.testing.engines.simulation.refusals import refused

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When every simulation starts."""

_EPOCH_US: Final = int(EPOCH.timestamp()) * 1_000_000


class NothingLeft(RuntimeError):
    """Nothing is ready and nothing is due: what is awaited would never come."""


class Idle(Protocol):
    """Called when nothing is ready and nothing is due."""

    def __call__(self, *, idle: bool) -> bool:
        """Returns whether it has made something ready."""


class _Jump:
    """Stands where an event loop has its selector: instead of waiting it moves the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        """Jump to the next timer."""
        if timeout is None:
            if self._loop.on_idle is not None and self._loop.on_idle(idle=True):
                return []
            raise NothingLeft("nothing is ready and nothing is due, so what is awaited would never come")
        if timeout > 0:
            self._loop.jump()
        return []


class _Timer(asyncio.TimerHandle):
    """Of those due at one instant the one that was made first comes first; a plain heap would shuffle them."""

    __slots__ = ("number",)
    number: int

    def __lt__(self, other: asyncio.TimerHandle) -> bool:
        mine, theirs = self.when(), other.when()
        return self.number < other.number if mine == theirs and isinstance(other, _Timer) else mine < theirs


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets, threads and signals, whose clock jumps to the next timer.

    What is due at one instant runs in the order in which it was scheduled.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._made = 0
        self.broken: BaseException | None = None
        self.on_idle: Idle | None = None
        self._selector = _Jump(self)
        self.slow_callback_duration = float("inf")

    def time(self) -> float:
        """Seconds since `EPOCH`."""
        return self._now

    def now(self) -> datetime:
        """The instant, to the microsecond."""
        return EPOCH + timedelta(microseconds=round(self._now * 1e6))

    def stamp(self) -> Timestamp:
        """The instant, as protobuf wants it."""
        seconds, micros = divmod(_EPOCH_US + round(self._now * 1e6), 1_000_000)
        return Timestamp(seconds=seconds, nanos=micros * 1000)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> _Timer:
        """See base class."""
        timer = _Timer(when, callback, args, self, context)
        self._made += 1
        timer.number = self._made
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]  # BaseEventLoop's heap
        timer._scheduled = True  # type: ignore[attr-defined]  # as the base class does
        return timer

    def jump(self) -> None:
        """Move the clock to the next timer."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # BaseEventLoop's heap
        self._now = max(self._now, scheduled[0].when())

    # --- coming back --------------------------------------------------------------------------------------------------

    def ready(self) -> list[asyncio.Handle]:
        """What runs next, in order."""
        return list(self._ready)  # type: ignore[attr-defined]  # BaseEventLoop's queue

    def due(self) -> list[asyncio.TimerHandle]:
        """What runs when its time has come."""
        return list(self._scheduled)  # type: ignore[attr-defined]  # BaseEventLoop's heap

    def keep(self, ready: Iterable[asyncio.Handle]) -> Callable[[], None]:
        """Remember the instant, what is due, and what of the next is ``ready``; what is returned brings it back."""
        next_ones, due, now, made = tuple(ready), self.due(), self._now, self._made

        def back() -> None:
            self._now, self._made, self.broken = now, made, None
            self._ready.clear()  # type: ignore[attr-defined]  # as above
            self._ready.extend(next_ones)  # type: ignore[attr-defined]  # as above
            self._scheduled[:] = due  # type: ignore[attr-defined]  # as above
            self._timer_cancelled_count = sum(handle.cancelled() for handle in due)

        return back

    # --- what would leave virtual time, or be lost ------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """End everything with this error, whatever the code that caused it makes of it."""
        if self.broken is None:
            self.broken = error
            self.stop()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A callback that raises has lost what it was to do: it must not pass for a workflow that waits."""
        error = context.get("exception")
        if error is not None and "handle" in context:
            self.fail(error)
        else:
            super().call_exception_handler(context)

    def _refuse(self, what: str) -> NoReturn:
        error = refused(f"{what}, which has a clock of its own,", fix="give it an async form, on the world's wire")
        self.fail(error)
        raise error

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> NoReturn:  # type: ignore[override]  # it refuses
        """Refuse a thread."""
        self._refuse(f"{func!r} in a thread")

    async def create_connection(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse a socket."""
        self._refuse(f"a connection to {args[1:3] or options}")

    async def create_datagram_endpoint(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse a socket."""
        self._refuse("a datagram socket")

    async def create_server(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse a socket."""
        self._refuse("a server")

    async def subprocess_exec(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse a process."""
        self._refuse(f"a process ({args[1:]})")

    async def subprocess_shell(self, *args: Any, **options: Any) -> NoReturn:
        """Refuse a process."""
        self._refuse(f"a process ({args[1:]})")

    def _process_events(self, event_list: Any) -> None:
        """See base class; there are none."""

    def _write_to_self(self) -> None:
        """See base class; nobody else is there to wake it."""


@collected_at_the_end()
def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a virtual loop of its own, from `EPOCH` on.

    Raises:
        NothingLeft: It awaits what would never come.
        UnsupportedScenario: Something on the way is not simulated.
        RuntimeError: A loop is running in this thread already; call it in another thread then.
    """
    if asyncio._get_running_loop() is not None:
        main.close()
        raise RuntimeError("a virtual loop cannot run inside a running one: call run_virtually in a thread of its own")
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main)
    except BaseException:
        if loop.broken is not None:
            raise loop.broken from None
        raise
    finally:
        try:
            cancel_rest(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


def cancel_rest(loop: VirtualLoop) -> None:
    """Cancel every task that is left, and let it end."""
    while rest := asyncio.all_tasks(loop):  # one that ends may let another begin
        for task in rest:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))


class Turns:
    """What is ready at this instant, and the seed that decides who is first.

    Args:
        loop: Where it runs.
        seed: 0 for the order in which it became ready.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, seed: int) -> None:
        self._loop = loop
        self._chance = random.Random(seed) if seed else None  # noqa: S311 - an order, no secret
        self._ready: list[Callable[[], None]] = []

    def soon(self, call: Callable[[], None]) -> None:
        """Call it at this instant, after what is running now."""
        self._ready.append(call)
        self._loop.call_soon(self._take)

    def state(self) -> object:
        """What the seed has left of its choices."""
        return None if self._chance is None else self._chance.getstate()

    def _take(self) -> None:
        index = 0 if self._chance is None else self._chance.randrange(len(self._ready))
        self._ready.pop(index)()
