"""Payloads are those of the SDK's converter for pydantic."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError
from temporalio.contrib.pydantic import PydanticPayloadConverter

from kit.worker.payloads import ModelPayloadConverter


class Parcel(BaseModel):
    weight: int
    to: str = "Berlin"


def test_a_value_reads_as_with_the_sdks_converter() -> None:
    """Models, lists of models and plain values have the payloads of the SDK's converter, and come back as they were."""
    values = [Parcel(weight=3), [Parcel(weight=1, to="Bonn")], 7, None, b"raw"]
    types = [Parcel, list[Parcel], int, type(None), bytes]

    payloads = ModelPayloadConverter().to_payloads(values)

    assert payloads == PydanticPayloadConverter().to_payloads(values)
    assert ModelPayloadConverter().from_payloads(payloads, types) == values


def test_what_does_not_validate_is_refused() -> None:
    """A payload that is not of the model is a validation error, as with the SDK's converter."""
    payloads = ModelPayloadConverter().to_payloads([{"weight": "heavy"}])

    with pytest.raises(ValidationError, match="weight"):
        ModelPayloadConverter().from_payloads(payloads, [Parcel])
