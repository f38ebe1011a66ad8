"""The gate of the contract lock: what it lets pass, what it refuses, and what its file looks like."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, Field

from kit.contract import Dependency, Effect, Model, Operation
from kit.errors import DefinitionError
from kit.testing.gates.contracts import FORMAT, Change, Lock, Service, Severity, check, relock
from kit.worker import Connector
from tests.testing.gates.contracts_world import Spec

SPEC = Spec()
OTHER_KEY = replace(SPEC, key="sold:{order_id}")


def test_a_breaking_change_says_what_it_strands_and_what_to_do() -> None:
    """A finding has the old and the new key with a sample, the reason and the fix."""
    (finding,) = check(SPEC.service().lock(), OTHER_KEY.service()).findings

    assert (finding.change, finding.subject, finding.severity) == (Change.KEY_CHANGED, "shop.sell", Severity.BREAKING)
    assert finding.was == "sell:{order_id} (sell:order-id-1)"
    assert finding.now == "sold:{order_id} (sold:order-id-1)"
    assert "happens again" in finding.rule.reason
    assert "new name" in finding.rule.fix


def test_a_removed_operation_that_came_back_is_called_a_rename() -> None:
    """An operation with the same request under another name is named as what the old one may have become."""
    renamed = replace(SPEC, name="shop.sell_again", key="sell:{order_id}")

    removed, _ = check(SPEC.service().lock(), renamed.service()).findings

    assert removed.detail == "it looks as if it had been renamed 'shop.sell_again'"


def test_documents_that_are_no_longer_read_are_shown() -> None:
    """A narrowed type is shown by pydantic's own words about the document that the old code wrote."""
    narrowed = replace(SPEC, fields=(("order_id", "code", ...), *SPEC.fields[1:]))

    (finding,) = check(SPEC.service().lock(), narrowed.service()).findings

    assert finding.change is Change.TYPE_NARROWED
    assert finding.subject == "request of shop.sell"
    assert "order_id: String should match pattern" in finding.detail


def test_a_renamed_field_is_called_that() -> None:
    """Where one field went and one of the same type came, the finding says what it looks like."""
    renamed = replace(SPEC, result=(("number", "id", ...),))

    findings = check(SPEC.service().lock(), renamed.service()).findings

    assert [finding.subject for finding in findings] == ["result of shop.sell", "result of Selling"]
    assert {finding.change for finding in findings} == {Change.TYPE_NARROWED}
    assert all(one.detail.endswith("it looks as if 'receipt' had been renamed 'number'") for one in findings)


def test_ttl_is_measured_by_the_deadline_runs_in_flight_were_started_with() -> None:
    """A shorter deadline does not help the runs that began under the longer one."""
    shorter = replace(SPEC, ttl=timedelta(hours=3), deadline=timedelta(hours=1), window=timedelta(hours=2))

    findings = check(SPEC.service().lock(), shorter.service()).findings

    (finding,) = (finding for finding in findings if finding.change is Change.TTL_TOO_SHORT)
    assert finding.detail == "runs of Selling started before may need it for 13:00:00"


def test_a_base_class_of_the_failure_map_speaks_for_its_subclasses() -> None:
    """An entry that goes but says what its base says is no change."""
    failures = SPEC.failures.extended(classes={"builtins.ConnectionError": SPEC.failures.classes["builtins.OSError"]})

    assert check(replace(SPEC, failures=failures).service().lock(), SPEC.service()).findings == ()


# -- types that code has a say in --------------------------------------------------------------------------------------


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("it is odd")
    return value


def _not_three(value: int) -> int:
    if value == 3:
        raise ValueError("it is three")
    return value


class Even(Model):
    name: str
    number: Annotated[int, Field(ge=2, le=3), AfterValidator(_even)]


class NotThree(Model):
    name: str
    number: Annotated[int, Field(ge=2, le=3), AfterValidator(_not_three)]


class Any3(Model):
    name: str
    number: Annotated[int, Field(ge=2, le=3)]


def _reading(request: type[Model]) -> Service:
    operation: Operation[Any, Any] = Operation(
        "shop.look",
        request,
        None,  # type: ignore[arg-type] # no result is a result type, too
        dependency=Dependency(name="shop", owner="shop-team", settle=timedelta(0)),
        effect=Effect.READ,
        timeout=timedelta(seconds=1),
    )

    class Shop(Connector):
        @operation.action
        async def look(self, request: Any, token: Any) -> None: ...

    return Service(connectors=[Shop])


def test_a_validator_in_code_raises_no_false_alarm() -> None:
    """What the type itself refused of its own schema is no change of the type."""
    lock = Lock.parse(_reading(Even).lock().text(), where="the test's lock")

    assert lock.operations["shop.look"].request.refuses
    assert check(lock, _reading(Even)).findings == ()


def test_a_new_validator_in_code_is_found_though_the_schema_is_the_same() -> None:
    """A validator narrows a type as a schema does: the documents that were read and are not any more tell it."""
    (finding,) = check(_reading(Any3).lock(), _reading(NotThree)).findings

    assert finding.change is Change.TYPE_NARROWED
    assert "it is three" in finding.detail


# -- accepting ---------------------------------------------------------------------------------------------------------


def test_a_breaking_change_can_be_accepted_in_writing() -> None:
    """An accepted change passes, with its reason, and only this very change."""
    base = SPEC.service().lock()
    lock, _ = relock(base, OTHER_KEY.service(), why="drained on Monday")

    again = check(base, OTHER_KEY.service(), accepted=lock.accepted)
    other = check(base, replace(SPEC, key="vend:{order_id}").service(), accepted=lock.accepted)

    assert again.findings == ()
    assert [(finding.change, why) for finding, why in again.accepted] == [(Change.KEY_CHANGED, "drained on Monday")]
    assert [finding.change for finding in other.findings] == [Change.KEY_CHANGED]


def test_a_new_lock_is_up_to_date() -> None:
    """What was just locked is neither changed nor stale."""
    lock, _ = relock(SPEC.service().lock(), OTHER_KEY.service(), why="drained")

    verdict = check(lock, OTHER_KEY.service())

    assert (verdict.findings, verdict.accepted, verdict.stale) == ((), (), False)


def test_a_harmless_change_leaves_the_lock_stale() -> None:
    """A lock that does not say what the code says is stale: the next change would be compared with something old."""
    verdict = check(SPEC.service().lock(), replace(SPEC, timeout=SPEC.timeout * 2).service())

    assert verdict.stale
    assert [finding.severity for finding in verdict.findings] == [Severity.HARMLESS]


# -- the file ----------------------------------------------------------------------------------------------------------


def test_the_file_is_sorted_json_that_ends_with_a_newline() -> None:
    """The file is stable: sorted keys, one value on a line."""
    text = SPEC.service().lock().text()

    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert json.loads(text)["format"] == FORMAT


def test_a_missing_file_says_how_to_write_it(tmp_path: Path) -> None:
    """Without a lock there is nothing to compare with, and the message has the command."""
    with pytest.raises(DefinitionError, match="kit contracts lock") as caught:
        Lock.read(tmp_path / "contracts.lock")

    assert "there is no such file" in str(caught.value)


def test_a_newer_format_is_refused_by_its_number() -> None:
    """A lock of a newer kit is not half understood."""
    with pytest.raises(DefinitionError, match=f"its format is {FORMAT + 1}, and this kit knows formats up to {FORMAT}"):
        Lock.parse(json.dumps({"format": FORMAT + 1, "anything": "new"}), where="contracts.lock")


@pytest.mark.parametrize(
    ("text", "rule"),
    [("{", "it is no JSON"), ("[]", "it is no lock"), ('{"operations": {"a.b": {"version": 1}}}', "it is no lock")],
)
def test_what_is_no_lock_is_refused(text: str, rule: str) -> None:
    """A file that is cut off, or something else, is named as that."""
    with pytest.raises(DefinitionError, match=rule):
        Lock.parse(text, where="contracts.lock")


def test_two_operations_of_one_name_are_refused() -> None:
    """A service whose parts disagree about an operation has no contract."""
    service = Service(connectors=[*SPEC.service().connectors, *SPEC.service().connectors])

    with pytest.raises(DefinitionError, match="two different operations have this name"):
        service.lock()


def test_a_class_that_is_no_workflow_is_refused() -> None:
    """What is listed among the workflows must be one."""
    with pytest.raises(DefinitionError, match="it is no workflow"):
        Service(workflows=[int]).lock()


def test_a_type_without_a_schema_is_refused() -> None:
    """A request that pydantic cannot describe cannot be locked, and the message says what to give it."""

    class Opaque(Model):
        back: Callable[[], int]

    with pytest.raises(DefinitionError, match="pydantic cannot describe its type 'Opaque'"):
        _reading(Opaque).lock()
