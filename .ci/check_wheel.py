"""Does a wheel hold exactly the source, configuration and page files of the checkout? Usage: check_wheel.py WHEEL."""

import subprocess
import sys
import zipfile
from pathlib import Path

FOLDERS = ("core", "domains", "solvers", "operations", "scenarios", "configs")


def main(wheel: str) -> int:
    """Print what is missing and what is too much; 1 if anything is."""
    root = Path(__file__).resolve().parents[1]
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *FOLDERS],
        cwd=root, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    expected = {f"interlock/{name}" for name in tracked if name and (root / name).is_file()}
    expected |= {f"interlock/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}
    found = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("interlock/")}
    for name in sorted(expected - found):
        print(f"missing from the wheel: {name}")
    for name in sorted(found - expected):
        print(f"in the wheel, but not in the checkout: {name}")
    print(f"{len(found)} files in {Path(wheel).name}")
    return int(expected != found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
