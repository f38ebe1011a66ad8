"""The tutorial, followed step by step by a newcomer who types what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from kit.testing import start_time_skipping
from tests.docs.pages import ROOT, blocks

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

PARTS = (ROOT / "docs/tutorial/first-saga.md", ROOT / "docs/tutorial/break-it.md")
"""The tutorial, in the order in which it is followed, in one folder."""

ABORTED = -6
"""A process that ran a worker aborts now and then after its last line (sdk-python#300): what it printed counts."""


class Newcomer:
    """A folder of their own, and a shell in it."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.said = ""
        self.heard = ""
        """All that was said so far."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_", "KIT_"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {**kept, "PATH": path, "TEMPORAL_ADDRESS": address, "PYTHONDONTWRITEBYTECODE": "1"}

    def write(self, text: str) -> None:
        """Save a block under the name in its first line."""
        name = text.splitlines()[0].removeprefix("# ")
        assert re.fullmatch(r"[\w/]+\.(py|toml)", name), f"the block does not name its file: {name}"
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def run(self, commands: str, *, fails: bool) -> None:
        """Type commands, and wait for each."""
        self.said = ""
        for command in commands.splitlines():
            done = subprocess.run(  # noqa: S602 - a shell is what the page is written for
                command, shell=True, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=180
            )
            self.said += done.stdout + done.stderr
            self.heard += done.stdout + done.stderr
            aborted = done.returncode in (ABORTED, 128 - ABORTED)
            assert aborted or (done.returncode != 0) == fails, f"{command}\n{self.said}"

    @contextmanager
    def running(self, command: str) -> Iterator[None]:
        """Leave a command running in another terminal."""
        words = command.split()
        with (self.folder / "background.log").open("w") as log:
            process = subprocess.Popen(words, cwd=self.folder, env=self.environment, stdout=log, stderr=log)
            try:
                yield
            finally:
                process.kill()
                process.wait()

    def sees(self, expected: str) -> None:
        """Compare what was printed with what the page shows: each line, in order."""
        rest = self.said
        for line in expected.splitlines():
            _, found, rest = rest.partition(line)
            assert found, f"{line!r} was not printed:\n{self.said}"


async def test_a_newcomer_who_types_what_the_tutorial_says_sees_what_it_shows(tmp_path: Path) -> None:
    """Every file is written, every command run and every output seen, in the order of the page."""
    async with await start_time_skipping() as server:
        newcomer = Newcomer(tmp_path, server.client.service_client.config.target_host)
        done = [follow(page, newcomer) for page in PARTS]

    assert (newcomer.folder / "background.log").read_text().count("operation.duplicate_prevented") == 2
    assert done[0] > 15
    assert done[1] > 15
    assert [part for part in shown_in_the_readme() if part not in newcomer.heard] == []


def shown_in_the_readme() -> list[str]:
    """What the README says that the second part prints, line by line; "…" stands for what it leaves out."""
    block = next(block for block in blocks(ROOT / "README.md") if "kit verify Trip" in block.text)
    parts = [part.strip() for line in block.text.splitlines() for part in line.split("…")]
    return [part for part in parts if part]


def follow(page: Path, newcomer: Newcomer) -> int:
    """Follow a page from its first block to its last; returns how many blocks there were."""
    done = 0
    with ExitStack() as background:
        for block in blocks(page):
            match block.language, block.marks:
                case (("python" | "toml"), ()):
                    newcomer.write(block.text)
                case "sh", ("by-hand",):
                    continue
                case "sh", ("background",):
                    background.enter_context(newcomer.running(block.text))
                case "sh", ("fails",) | ():
                    newcomer.run(block.text, fails=block.marks == ("fails",))
                case "text", ():
                    newcomer.sees(block.text)
                case _:
                    pytest.fail(f"{page.name}:{block.line}: nobody knows what to do with {block.language}")
            done += 1
    return done


async def test_a_page_that_shows_what_is_not_printed_is_caught(tmp_path: Path) -> None:
    """The test of the tutorial can fail: on output, on an exit code, and on a block without a file."""
    newcomer = Newcomer(tmp_path, "")
    newcomer.run("python -c 'print(1)'", fails=False)

    with pytest.raises(AssertionError, match="'2' was not printed"):
        newcomer.sees("1\n2\n")
    with pytest.raises(AssertionError, match="exit"):
        newcomer.run("exit 3", fails=False)
    with pytest.raises(AssertionError, match="does not name its file"):
        newcomer.write("import os\n")
