"""Payloads: pydantic's JSON, without a validator made anew for each workflow."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter, PydanticPayloadConverter
from temporalio.converter import CompositePayloadConverter


class ModelPayloadConverter(PydanticPayloadConverter):
    """The SDK's converter for pydantic, which asks a model itself to read a payload.

    The SDK makes a converter for every workflow, and every converter a `pydantic.TypeAdapter` for every type it meets:
    half a millisecond per workflow. A model has its validator already, and it is the same one.
    """

    def __init__(self) -> None:
        super().__init__()
        asking = _AskingModels()
        CompositePayloadConverter.__init__(
            self, *(asking if isinstance(c, PydanticJSONPlainPayloadConverter) else c for c in self.converters.values())
        )


class _AskingModels(PydanticJSONPlainPayloadConverter):
    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        if isinstance(type_hint, type) and issubclass(type_hint, BaseModel):
            return type_hint.__pydantic_validator__.validate_json(payload.data)
        return super().from_payload(payload, type_hint)
