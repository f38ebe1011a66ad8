"""The wheel is the kit and nothing but the kit."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house._checkout import CHECKOUT, committed_files


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    result = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def dist_info(wheel: zipfile.ZipFile) -> str:
    """The name of the wheel's metadata folder."""
    (name,) = {Path(file).parts[0] for file in wheel.namelist() if ".dist-info/" in file}
    return name


@pytest.mark.slow
def test_wheel_holds_every_file_of_the_kit_and_no_other(wheel: zipfile.ZipFile) -> None:
    """What is committed under `kit/` is in the wheel, and the pytest plugin; the service is not."""
    ours = {str(path.relative_to(CHECKOUT)) for path in committed_files()}

    shipped = {name for name in wheel.namelist() if not name.startswith(f"{dist_info(wheel)}/")}

    assert shipped == {name for name in ours if name.startswith("kit/")} | {"kit_pytest.py"}
    assert "kit/py.typed" in shipped


@pytest.mark.slow
def test_wheel_brings_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    """Installing the wheel gives the `kit` command and the pytest plugin, and the licence comes along."""
    metadata = dist_info(wheel)

    entry_points = wheel.read(f"{metadata}/entry_points.txt").decode()

    assert "kit = kit.cli:main" in entry_points
    assert "[pytest11]\nkit = kit_pytest\n" in entry_points
    assert f"{metadata}/licenses/LICENSE" in wheel.namelist()
