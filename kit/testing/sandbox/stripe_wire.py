"""Stripe's wire format: form encoding, error shapes, and the search language, as far as payments need them.

Sources: https://docs.stripe.com/api (encoding, metadata), https://docs.stripe.com/api/errors,
https://docs.stripe.com/search#search-query-language.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qsl

from kit.testing.sandbox.exchange import Reply

_METADATA = re.compile(r"metadata\[([^\[\]]{1,40})\]")
_CLAUSE = re.compile(r"""(?:(status)|metadata\[(['"])(.+?)\2\]):(['"])((?:\\.|(?!\4).)*)\4""")
_AND = re.compile(r"\s+AND\s+", re.IGNORECASE)


class StripeError(Exception):
    """A call that Stripe turns down; carries the reply."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(reply.body["error"]["message"])


def error_reply(
    status: int,
    kind: str,
    message: str,
    *,
    code: str | None = None,
    decline_code: str | None = None,
    param: str | None = None,
    remember: bool = False,
    **more: Any,
) -> Reply:
    """A reply in Stripe's error shape; fields that do not apply are left out."""
    optional = {"code": code, "decline_code": decline_code, "param": param, **more}
    error = {"type": kind, "message": message, **{k: v for k, v in optional.items() if v is not None}}
    return Reply(status, {"error": error}, remember=remember)


def invalid(message: str, *, code: str | None = None, param: str | None = None, status: int = 400) -> StripeError:
    """Bad input, found before anything was executed."""
    return StripeError(error_reply(status, "invalid_request_error", message, code=code, param=param))


def parse_form(content_type: str, body: bytes, *, allowed: Collection[str]) -> dict[str, str]:
    """The parameters of a form-encoded body; nested ones keep their bracketed names.

    Raises:
        StripeError: The body is not form-encoded, repeats a parameter, or has one that is not in `allowed`.
            A name in `allowed` stands for everything nested below it, too.
    """
    if body and content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise invalid(f"Invalid Content-Type {content_type!r}: expected application/x-www-form-urlencoded.")
    pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    params: dict[str, str] = {}
    for name, value in pairs:
        if name.partition("[")[0] not in allowed:
            raise invalid(f"Received unknown parameter: {name}", code="parameter_unknown", param=name)
        if name in params and not name.endswith("[]"):
            raise invalid(f"Received the parameter {name} twice.", param=name)
        params[name] = value if name not in params else f"{params[name]},{value}"
    return params


def metadata_of(params: Mapping[str, str]) -> dict[str, str]:
    """The `metadata[key]=value` parameters as a mapping."""
    found = ((_METADATA.fullmatch(name), value) for name, value in params.items())
    return {match[1]: value for match, value in found if match}


def integer(params: Mapping[str, str], name: str, *, default: int | None = None) -> int:
    """A positive whole number.

    Raises:
        StripeError: It is missing and has no default, is no number, or is below 1.
    """
    text = params.get(name)
    if text is None and default is not None:
        return default
    if not text:
        raise invalid(f"Missing required param: {name}.", code="parameter_missing", param=name)
    if not re.fullmatch(r"-?\d{1,18}", text):
        raise invalid(f"Invalid integer: {text}", code="parameter_invalid_integer", param=name)
    if int(text) < 1:
        raise invalid(f"{name} must be greater than 0, got {text}.", code="parameter_invalid_integer", param=name)
    return int(text)


def choice(params: Mapping[str, str], name: str, allowed: Collection[str], *, default: str) -> str:
    """One of a few words.

    Raises:
        StripeError: It is another word.
    """
    value = params.get(name, default)
    if value not in allowed:
        raise invalid(f"Invalid {name}: must be one of {', '.join(allowed)}, got {value!r}.", param=name)
    return value


def search_clauses(query: str) -> list[tuple[str, str]]:
    """The clauses of a search query, as ("status" or "metadata.<key>", wanted value); all must hold.

    Understands exact matches on `status` and `metadata['key']`, joined by AND; Stripe's language has more.

    Raises:
        StripeError: The query says anything else.
    """
    clauses = []
    for part in _AND.split(query.strip()):
        match = _CLAUSE.fullmatch(part.strip())
        if match is None:
            raise invalid(f"Search query {query!r} is not understood, near {part!r}.", param="query")
        field = "status" if match[1] else f"metadata.{match[3]}"
        clauses.append((field, re.sub(r"\\(.)", r"\1", match[5])))
    return clauses
