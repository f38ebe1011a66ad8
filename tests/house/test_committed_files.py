"""What is committed works anywhere: it names no machine and no package registry."""

import re
from pathlib import Path

import pytest

from tests.house._checkout import CHECKOUT, committed_files

# Joined here, so that this file does not name what it forbids.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("anaconda", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("proxy", "golang", "org"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("maven", "org"),
    ]
)
REGISTRY = re.compile("|".join(re.escape(host) for host in REGISTRIES))
MACHINE_PATH = re.compile(r"(?<![\w.~}])/(?:home|root|tmp|work|Users)/\w")


def text_files() -> list[tuple[Path, str]]:
    """Every committed file that is text."""
    found = []
    for path in committed_files():
        try:
            found.append((path.relative_to(CHECKOUT), path.read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue  # a picture or a stored history
    return found


@pytest.mark.parametrize("pattern", [REGISTRY, MACHINE_PATH], ids=["registry", "machine path"])
def test_no_committed_file_names(pattern: re.Pattern[str]) -> None:
    """No committed file names the host of a package registry or a path of somebody's machine."""
    found = [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in text_files()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]

    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (REGISTRY, "--index-url https://" + "pypi." + "org/simple"),
        (MACHINE_PATH, "open('/" + "tmp/x')"),
        (MACHINE_PATH, "cd /" + "home/someone"),
    ],
)
def test_patterns_find_what_they_forbid(pattern: re.Pattern[str], line: str) -> None:
    """A line that names a registry or a machine is found."""
    assert pattern.search(line)
