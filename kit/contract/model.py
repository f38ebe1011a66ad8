"""The base of every request and result."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """An immutable document that knows all its fields.

    Unknown fields are refused, not dropped: after a rollback, a field that only the newer version knows would
    otherwise vanish without a word and its default would be used instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
