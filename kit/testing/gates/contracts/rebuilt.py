"""A type rebuilt from its JSON schema: how the version that locked it reads a document, when that version is not here.

What a schema does not show, such as a validator in code, is lost; so this is used only for the question whether the
*old* version reads what the new one writes. The new version's types are here and are asked themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Final, ForwardRef, Literal, Union
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, create_model

from kit.testing.gates.contracts.documents import Schema

_FORMATS: Final[Mapping[str, Any]] = {
    "uuid": UUID,
    "date": date,
    "date-time": datetime,
    "time": time,
    "duration": timedelta,
}

_BOUNDS: Final[Mapping[str, str]] = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
}

_PLAIN: Final[Mapping[str, Any]] = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "null": type(None),
}


def rebuilt(schema: Schema) -> TypeAdapter[Any]:
    """A type that reads what the schema's own type read, as far as the schema tells."""
    return _Rebuilder(schema.get("$defs", {})).adapter(schema)


class _Rebuilder:
    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions
        self._models: dict[str, Any] = {}
        self._names: dict[str, str] = {}

    def adapter(self, schema: Schema) -> TypeAdapter[Any]:
        """The type of a whole schema."""
        top = self._type(schema)
        for model in list(self._models.values()):
            model.model_rebuild(_types_namespace=self._models)
        return TypeAdapter(top)

    def _type(self, schema: Schema) -> Any:
        if "$ref" in schema:
            return self._referred(schema["$ref"].rpartition("/")[2])
        if "const" in schema:
            return _one_of([schema["const"]])
        if "enum" in schema:
            return _one_of(schema["enum"])
        if branches := schema.get("anyOf") or schema.get("oneOf"):
            return Union[tuple(self._type(branch) for branch in branches)]  # noqa: UP007 - built at run time
        if "allOf" in schema:
            return self._type(schema["allOf"][0])
        return self._bounded(schema, self._plain(schema))

    def _referred(self, reference: str) -> Any:
        schema = self._definitions[reference]
        if "properties" not in schema:
            return self._type(schema)
        if reference not in self._names:
            self._names[reference] = f"Rebuilt{len(self._names)}"
            self._models[self._names[reference]] = self._model(schema, self._names[reference])
        name = self._names[reference]
        # By its name where it occurs within itself and is not built yet.
        return self._models.get(name) or ForwardRef(name)

    def _plain(self, schema: Schema) -> Any:
        match schema.get("type"):
            case "object" if "properties" in schema or schema.get("additionalProperties") is False:
                name = f"Rebuilt{len(self._models)}Inline"
                self._models[name] = self._model(schema, name)
                return self._models[name]
            case "object":
                inner = schema.get("additionalProperties")
                return dict[str, self._type(inner)] if isinstance(inner, Mapping) else dict[str, Any]  # type: ignore[misc] # a type made at run time
            case "array" if "prefixItems" in schema:
                return tuple[tuple(self._type(item) for item in schema["prefixItems"])]  # type: ignore[misc] # likewise
            case "array":
                return list[self._type(schema.get("items", {}))]  # type: ignore[misc] # likewise
            case "string" if schema.get("format") in _FORMATS:
                return _FORMATS[schema["format"]]
            case kind:
                return _PLAIN.get(str(kind), Any)

    def _bounded(self, schema: Schema, plain: Any) -> Any:
        bounds = {name: schema[keyword] for keyword, name in _BOUNDS.items() if keyword in schema}
        if "prefixItems" in schema:
            bounds = {}
        if schema.get("uniqueItems"):
            plain = Annotated[plain, AfterValidator(_unique)]
        if "pattern" in schema and plain is str:
            plain = Annotated[plain, AfterValidator(_matching(schema["pattern"]))]
        return Annotated[plain, Field(**bounds)] if bounds else plain

    def _model(self, schema: Schema, name: str) -> type[BaseModel]:
        required = schema.get("required", ())
        fields: dict[str, Any] = {}
        # Under names of our own: a property may be called anything.
        for number, (key, value) in enumerate(schema.get("properties", {}).items()):
            default = ... if key in required else value.get("default")
            fields[f"f{number}"] = (self._type(value), Field(default, alias=key))
        more = schema.get("additionalProperties")
        extra: Literal["forbid", "allow", "ignore"] = "forbid" if more is False else "allow" if more else "ignore"
        return create_model(name, __config__=ConfigDict(extra=extra), **fields)


def _one_of(values: list[Any]) -> Any:
    def check(value: Any) -> Any:
        # Not `in`: 1 and True are equal.
        if not any(type(value) is type(known) and value == known for known in values):
            raise ValueError(f"{value!r} is none of {values!r}")
        return value

    return Annotated[Any, AfterValidator(check)]


def _matching(pattern: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if re.search(pattern, value) is None:
            raise ValueError(f"{value!r} does not match {pattern!r}")
        return value

    return check


def _unique(values: list[Any]) -> list[Any]:
    if any(value in values[:place] for place, value in enumerate(values)):
        raise ValueError(f"{values!r} holds a value twice")
    return values
