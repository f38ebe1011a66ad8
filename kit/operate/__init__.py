"""The client side: what callers and operators do with runs, from outside of them."""

from kit.operate.delivering import deliver
from kit.operate.holds import Stopping, hold_off, hold_on, stopping, store_of
from kit.operate.incident import IncidentRefused, open_incident, read_incident
from kit.operate.intake import Answer, Delivery, Endpoint, ToEntity, ToRun, Unreadable, intake
from kit.operate.reconciling import reconciliation_of, schedule_reconciliation, start_reconciliation
from kit.operate.service import Operating
from kit.operate.starting import Started, start_once
from kit.operate.submitting import SubmitState, Submitted, submit
from kit.operate.tasks import OpenTask, TaskGroup, decide, decide_group, grouped, open_tasks, tasks_of

__all__ = [
    "Answer",
    "Delivery",
    "Endpoint",
    "IncidentRefused",
    "OpenTask",
    "Operating",
    "Started",
    "Stopping",
    "SubmitState",
    "Submitted",
    "TaskGroup",
    "ToEntity",
    "ToRun",
    "Unreadable",
    "decide",
    "decide_group",
    "deliver",
    "grouped",
    "hold_off",
    "hold_on",
    "intake",
    "open_incident",
    "open_tasks",
    "read_incident",
    "reconciliation_of",
    "schedule_reconciliation",
    "start_once",
    "start_reconciliation",
    "stopping",
    "store_of",
    "submit",
    "tasks_of",
]
