"""The stall of two steps, whose connector goes to another till once a connection broke; and that one knows no keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from kit.contract import Token
from kit.testing.world import Subject
from kit.worker import Connector
from tests.worlds.office import Office, declined
from tests.worlds.two_steps import Market, Receipt, Sale, Sell, Stall, charge, lay_aside


class Careful(Stall):
    """Remembers that a connection broke."""

    def __init__(self, shelf: Any, till: Any, spare: Any) -> None:
        super().__init__(shelf, till)
        self._spare = spare
        self._broke = False

    @lay_aside.action
    async def lay_aside(self, request: Sale, token: Token) -> Receipt:
        """Lay the thing aside."""
        try:
            return await super().lay_aside(request, token)
        except ConnectionError:
            self._broke = True
            raise

    @charge.action
    async def charge(self, request: Sale, token: Token) -> Receipt:
        """Take the money, where that seems possible."""
        return Receipt(id=await (self._spare if self._broke else self._till).do(token.key))


class TwoTills(Market):
    """One stall, and a till that takes every request for a new one."""

    def connect(self) -> Sequence[Connector]:
        """See base class."""
        shelf = Office(self.book, lay_aside.name, once=False)
        tills = [Office(self.book, charge.name, once=once) for once in (True, False)]
        return [
            Careful(
                self.wire.client(shelf, system="shelf", safe=("find",), refused=declined),
                *(self.wire.client(till, system="till", refused=declined) for till in tills),
            )
        ]


SPARE_TILL: Final = Subject(Sell, Sale(thing="lamp"), TwoTills)
"""Only two faults together show what is wrong: one at the shelf, and one at the till."""
