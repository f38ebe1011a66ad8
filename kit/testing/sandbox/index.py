"""A search index that is behind: what is written is found a while later, and so is that it is gone.

Reads by id see every write at once; a search sees the world as it was, as HubSpot and Zendesk document of theirs.
Whoever takes "not found" for "did not happen" does it twice.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

Document = Mapping[str, Any]


class SearchIndex:
    """The documents of one provider, as its search knows them.

    Args:
        now: The provider's clock.
        lag: How long it takes until the search knows of a write.
    """

    def __init__(self, now: Callable[[], datetime], *, lag: timedelta) -> None:
        self.lag = lag
        self._now = now
        self._known: dict[str, Document] = {}
        self._coming: list[tuple[datetime, str, Document | None]] = []

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
        self._coming.clear()

    def put(self, document_id: str, document: Document) -> None:
        """A document was written; the search will know it as it is now."""
        self._coming.append((self._now() + self.lag, document_id, dict(document)))

    def remove(self, document_id: str) -> None:
        """A document is gone; the search will still find it for a while."""
        self._coming.append((self._now() + self.lag, document_id, None))

    def find(self, matches: Callable[[Document], bool]) -> list[Document]:
        """The documents that match, as far as the search knows, in the order in which it got to know them."""
        self._catch_up()
        return [document for document in self._known.values() if matches(document)]

    def state(self) -> tuple[object, ...]:
        """All that later answers depend on, with what is to come as seen from now."""
        self._catch_up()
        now = self._now()
        return (self._known, [(at - now, document_id, document) for at, document_id, document in self._coming])

    def _catch_up(self) -> None:
        now = self._now()
        # Not in order of time, where a write was taken into effect late.
        due = sorted((one for one in self._coming if one[0] <= now), key=lambda one: one[0])
        self._coming = [one for one in self._coming if one[0] > now]
        for _, document_id, document in due:
            if document is None:
                self._known.pop(document_id, None)
            else:
                self._known[document_id] = document
