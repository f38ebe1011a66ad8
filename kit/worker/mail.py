"""How mail is written and read: the standard library's policy, with a memory for headers.

`email.policy.default` parses a header by its grammar when it is set and each time it is read, and makes a class for it
every time: that is most of what a message costs. Half of the headers are the same in all messages of a sender.
"""

from __future__ import annotations

import functools
from email.headerregistry import HeaderRegistry
from email.policy import EmailPolicy
from typing import Any, Final

REMEMBERED: Final = 64
"""How many headers."""


class _Headers(HeaderRegistry):
    """The standard library's headers. They do not change once they are made, so one may stand in many messages."""

    @functools.lru_cache(maxsize=REMEMBERED)  # noqa: B019 - there is one registry, for as long as the process lives
    def __getitem__(self, name: str) -> type:
        return super().__getitem__(name)

    @functools.lru_cache(maxsize=REMEMBERED)  # noqa: B019 - the same
    def __call__(self, name: str, value: Any) -> Any:
        return super().__call__(name, value)


MAIL: Final = EmailPolicy(header_factory=_Headers())
"""What `email.policy.default` is, quicker."""
