"""Recorded histories: what a workflow once did, kept in a file that a person can read and a diff can show.

A file is Temporal's own JSON of a history with three changes: one event on each line; a payload that is JSON is written
as JSON (``{"json": ...}``) instead of base64; and what differs from one recording to the next without meaning anything
(identities, task ids, sizes) is left out. Temporal's own JSON (``temporal workflow show --output json``, the Web UI's
download) is read as well.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.client import WorkflowHistory

from kit.errors import DefinitionError
from kit.testing.runs import Run

FOLDER: Final = Path("tests/histories")
"""Where histories are kept when nothing is said, below the service's folder."""

_NOISE: Final = frozenset(
    {
        "stackTrace", "taskId", "identity", "requestId", "historySizeBytes", "workerVersion", "sdkName", "sdkVersion",
        "meteringMetadata", "priority", "timeSkippingConfig", "useWorkflowBuildId", "attachRequestId",
    }
)  # fmt: skip

_JSON_ENCODING: Final = base64.b64encode(b"json/plain").decode()


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded history.

    Attributes:
        name: What it is called: its file's path below the folder, without the ending.
        workflow: The workflow's type.
        workflow_id: The run's id.
        scenario: What went wrong in it, as `kit.testing.faults.Scenario` writes it; empty when nobody knows.
        ending: How it ended; empty when nobody knows.
        events: Its events.
    """

    name: str
    workflow: str
    workflow_id: str
    events: tuple[HistoryEvent, ...]
    scenario: str = ""
    ending: str = ""

    @property
    def history(self) -> WorkflowHistory:
        """It as the SDK takes it."""
        return WorkflowHistory(self.workflow_id, list(self.events))

    def until(self, event_id: int) -> Recording:
        """The run as it was in flight: everything up to and including one event."""
        return Recording(
            self.name,
            self.workflow,
            self.workflow_id,
            tuple(event for event in self.events if event.event_id <= event_id),
            self.scenario,
            self.ending,
        )

    @property
    def tasks(self) -> tuple[int, ...]:
        """The ids of the events at which a workflow task was taken up that then completed: where versions can change.

        A task that was taken up twice, because a worker was lost, counts once.
        """
        completed = {
            event.workflow_task_completed_event_attributes.started_event_id
            for event in self.events
            if event.HasField("workflow_task_completed_event_attributes")
        }
        return tuple(event.event_id for event in self.events if event.event_id in completed)


def recording_of(run: Run) -> Recording:
    """What one run of a scenario is worth keeping.

    Raises:
        DefinitionError: The run has no history.
    """
    if not run.history:
        raise DefinitionError(
            f"run {run.scenario}", rule="its engine kept no history", fix="run it with an engine that writes histories"
        )
    return of_events(
        f"{run.workflow.lower()}/{file_name(str(run.scenario))}",
        History.FromString(run.history).events,
        workflow_id=run.workflow_id,
        scenario=str(run.scenario),
        ending=run.ending.value,
    )


def file_name(scenario: str) -> str:
    """A scenario as the name of a file: what file systems and shells dislike is replaced."""
    return scenario.translate(str.maketrans("#:/+@", "--._-"))


def of_events(name: str, events: Any, *, workflow_id: str = "", scenario: str = "", ending: str = "") -> Recording:
    """A recording of these events.

    Raises:
        DefinitionError: They are not the beginning of a history.
    """
    kept = tuple(events)
    if not kept or not kept[0].HasField("workflow_execution_started_event_attributes"):
        raise DefinitionError(
            f"history {name!r}",
            rule=f"its first of {len(kept)} events is not the start of a workflow",
            fix="record it again, from the start",
        )
    started = kept[0].workflow_execution_started_event_attributes
    found = workflow_id or started.workflow_id or name
    return Recording(name, started.workflow_type.name, found, kept, scenario, ending)


def write(recording: Recording, folder: Path) -> Path:
    """Write a recording below a folder; the same recording gives the same bytes. Returns the file."""
    file = folder / f"{recording.name}.json"
    about = {
        "workflow": recording.workflow,
        "workflow_id": recording.workflow_id,
        "scenario": recording.scenario,
        "ending": recording.ending,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    events = ",\n".join(_line(_shown(_plain(event))) for event in recording.events)
    file.write_text(f'{{"about": {_line(about)},\n"events": [\n{events}\n]}}\n', encoding="utf-8")
    return file


def read(file: Path, *, folder: Path | None = None) -> Recording:
    """Read one file.

    Args:
        file: Ours, or Temporal's own JSON.
        folder: What its name is relative to; its own folder when not given.

    Raises:
        DefinitionError: It is no history.
    """
    name = file.relative_to(folder or file.parent).with_suffix("").as_posix()
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        about = content.get("about", {})
        listed = [_stored(event) for event in content["events"]]
        events = WorkflowHistory.from_json("", {"events": listed}).events
    except (OSError, ValueError, KeyError, TypeError, AttributeError, json_format.ParseError) as error:
        raise DefinitionError(
            f"history {str(file)!r}",
            rule=f"it is not readable as one: {type(error).__name__}: {error}",
            fix="record it again with `kit replay record`, or save it with `temporal workflow show --output json`",
        ) from error
    return of_events(
        name,
        events,
        workflow_id=about.get("workflow_id", ""),
        scenario=about.get("scenario", ""),
        ending=about.get("ending", ""),
    )


def read_all(folder: Path) -> list[Recording]:
    """Every history below a folder, by name; none when there is no such folder.

    Raises:
        DefinitionError: A file is no history.
    """
    return [read(file, folder=folder) for file in sorted(folder.rglob("*.json"))]


def _plain(event: HistoryEvent) -> dict[str, Any]:
    found: dict[str, Any] = json_format.MessageToDict(event)
    return found


def _line(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(", ", ": "))


def _shown(document: Any) -> Any:
    """Without noise, and with payloads that can be read."""
    return _walk(document, _show_payload)


def _stored(document: Any) -> Any:
    """What `_shown` has made readable, as Temporal has it."""
    return _walk(document, _store_payload)


def _walk(document: Any, payload: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Any:
    if isinstance(document, dict):
        found = payload(document)
        if found is not None:
            return found
        return {name: _walk(value, payload) for name, value in _kept(document)}
    if isinstance(document, list):
        return [_walk(value, payload) for value in document]
    return document


def _kept(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    # A memo or a header may use any name: a payload is never noise.
    return ((name, value) for name, value in document.items() if name not in _NOISE or _is_payload(value))


def _is_payload(value: Any) -> bool:
    return isinstance(value, dict) and ("json" in value or "data" in value)


def _show_payload(document: dict[str, Any]) -> dict[str, Any] | None:
    if document.get("metadata") != {"encoding": _JSON_ENCODING} or "data" not in document:
        return None
    data = base64.b64decode(document["data"])
    shown = json.loads(data)
    # Only what comes back byte for byte: digests and keys may be taken over a payload.
    return {"json": shown} if _compact(shown) == data else document


def _store_payload(document: dict[str, Any]) -> dict[str, Any] | None:
    if set(document) == {"json"}:
        return {"metadata": {"encoding": _JSON_ENCODING}, "data": base64.b64encode(_compact(document["json"])).decode()}
    return document if set(document) == {"metadata", "data"} else None


def _compact(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
