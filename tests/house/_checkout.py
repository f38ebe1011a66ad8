"""Where the checkout is, also when the suite runs from a copy beside the installed wheel."""

import os
import subprocess
from pathlib import Path

CHECKOUT = Path(os.environ.get("KIT_CHECKOUT") or Path(__file__).resolve().parents[2])


def committed_files() -> list[Path]:
    """Every file that is committed, or would be by adding all."""
    listing = subprocess.run(
        # safe.directory: a checkout that belongs to someone else is read all the same.
        ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (CHECKOUT / name for name in listing.stdout.split("\0") if name)
    return sorted(path for path in paths if path.is_file())
