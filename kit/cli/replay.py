"""``kit replay``: does the code of now still fit the runs that are in flight?"""

from __future__ import annotations

import json as documents
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

from kit.cli.choosing import chosen, subjects_named
from kit.cli.discovery import find_folder, find_subjects, find_workflows
from kit.errors import DefinitionError
from kit.testing.gates.explaining import told
from kit.testing.gates.histories import FOLDER, Recording, of_events, read, read_all
from kit.testing.gates.recording import record
from kit.testing.gates.replaying import Replayed, check
from kit.worker import ReliabilityPlugin

replay = App(name="replay", help="Replay recorded histories on the code of now.")

Flag = Parameter(negative="")

DEFAULT_ADDRESS = "localhost:7233"
"""Where Temporal is when nothing says so."""


@replay.default
@replay.command(name="check")
async def check_histories(
    *paths: Path,
    query: str | None = None,
    limit: int = 100,
    address: str | None = None,
    namespace: str | None = None,
    strict: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Replay histories on the code of now. The exit code is 0 when all fit it, else 1.

    Args:
        paths: Files and folders of histories; by default the service's tests/histories.
        query: Replay runs of a cluster instead: a visibility query, such as "WorkflowType='Checkout'".
        limit: At most so many of them.
        address: Of the cluster; by default what TEMPORAL_ADDRESS or the profile says. Its other settings (TLS, key)
            are read from there in any case.
        namespace: In the cluster.
        strict: Fail also when a history replays, but the code would do something otherwise: other arguments, timeouts,
            retry rules, or a payload of which something is dropped or made up.
        json: Print one JSON document.
    """
    if query is not None:
        recordings = await _from_cluster(query, limit, address=address, namespace=namespace)
    elif address is not None or namespace is not None:
        raise DefinitionError(
            "kit replay", rule="an address without a query", fix="add --query, such as \"WorkflowType='Checkout'\""
        )
    else:
        recordings = _stored(paths)
    found = await check(recordings, workflows=find_workflows())
    _print(found, as_json=json)
    return 0 if all(one.unchanged if strict else one.fits for one in found) else 1


@replay.command(name="record")
async def record_histories(
    workflow: str | None = None,
    *,
    only: tuple[str, ...] = (),
    folder: Path | None = None,
    engine: Literal["simulation", "server"] = "simulation",
) -> int:
    """Record histories of the service's subjects, in place of those that were recorded before.

    Args:
        workflow: The workflow's type; by default all of the service's subjects.
        only: Record this scenario, by the id that a sweep prints, and leave the others. May be repeated. By default as
            few are kept as cover every ending, event and activity of the clean run and every single fault.
        folder: Where to; by default the service's tests/histories.
        engine: The simulation, or a real server that skips time.
    """
    logging.getLogger().addHandler(logging.NullHandler())  # every failed attempt is meant to fail here
    subjects = subjects_named(find_subjects())
    wanted = subjects.values() if workflow is None else [chosen(subjects, workflow, what="workflow")]
    if only and len(list(wanted)) > 1:
        raise DefinitionError(
            f"scenario {only[0]!r}", rule="there are several workflows", fix=f"name one of {', '.join(subjects)}"
        )
    home = folder or find_folder() / FOLDER
    for subject in wanted:
        for file in await record(subject, home, scenarios=only, engine=engine):
            found = read(file, folder=home)
            print(f"{found.name}  {found.scenario}: {found.ending}, {len(found.events)} events")
    return 0


def _print(found: Sequence[Replayed], *, as_json: bool) -> None:
    if as_json:
        print(documents.dumps({"histories": [one.to_json() for one in found]}, indent=2))
        return
    for line in told(found):
        print(line)


def _stored(paths: Sequence[Path]) -> list[Recording]:
    """The histories of some files and folders.

    Raises:
        DefinitionError: There are none, which is no reason to say that they fit.
    """
    home = find_folder() / FOLDER
    wanted = list(paths) or [home]
    for path in wanted:
        if not path.exists():
            raise DefinitionError(
                f"histories {str(path)!r}",
                rule="there is no such file or folder",
                fix="record some with `kit replay record`, or name where they are",
            )
    found = [one for path in wanted for one in (read_all(path) if path.is_dir() else [read(path)])]
    if not found:
        raise DefinitionError(
            f"histories {', '.join(str(path) for path in wanted)}",
            rule="there is no history (*.json) in it, so nothing was checked",
            fix="record some with `kit replay record`",
        )
    return found


async def _from_cluster(query: str, limit: int, *, address: str | None, namespace: str | None) -> list[Recording]:
    config = ClientConfig.load_client_connect_config(override_env_vars=dict(os.environ))
    config.setdefault("target_host", DEFAULT_ADDRESS)
    if address is not None:
        config["target_host"] = address
    if namespace is not None:
        config["namespace"] = namespace
    where = f"cluster {config['target_host']!r}"
    try:
        client = await Client.connect(**config, plugins=[ReliabilityPlugin()])
        found = []
        async for run in client.list_workflows(query, limit=limit):
            history = await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
            status = run.status.name.lower() if run.status else ""
            found.append(of_events(f"{run.id}/{run.run_id}", history.events, workflow_id=run.id, ending=status))
    except (RPCError, RuntimeError) as error:
        raise DefinitionError(
            where,
            rule=f"the query {query!r} could not be answered: {error}",
            fix="check the address, the namespace and the query; `temporal workflow list --query` takes the same",
        ) from error
    if not found:
        print(f"no run fits {query!r} in {where}: nothing was checked", file=sys.stderr)
    return found
