"""Mail is what the standard library writes and reads."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from kit.worker.mail import MAIL


def _message(rules: policy.EmailPolicy[Any]) -> EmailMessage:
    message = EmailMessage(rules)
    message["From"] = "shop@example.com"
    message["To"] = "Ada <ada@example.com>, b@example.com"
    message["Subject"] = "Ihre Quittung über 20 €"
    message["Message-ID"] = "<1@example.com>"
    message.set_content("Danke für Ihre Bestellung.\n")
    return message


def test_a_message_is_the_standard_librarys() -> None:
    """A message has the same bytes as with `email.policy.default`, however often its headers were seen before."""
    expected = _message(policy.default).as_bytes()

    written = [_message(MAIL).as_bytes() for _ in range(2)]

    assert written == [expected, expected]


def test_a_header_is_read_as_the_standard_library_reads_it() -> None:
    """A parsed header has the value and the parts that `email.policy.default` finds."""
    content = _message(policy.default).as_bytes()
    expected = message_from_bytes(content, policy=policy.default)

    found = message_from_bytes(content, policy=MAIL)

    assert [(name, str(found[name]), found[name].name) for name in found] == [
        (name, str(expected[name]), expected[name].name) for name in expected
    ]
    assert found["To"].addresses == expected["To"].addresses
