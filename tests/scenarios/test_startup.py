"""Start-up is part of speed: help and lists load nothing heavy and cost next to nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "pandas", "pyomo", "matplotlib")
LIMIT = 0.35  # CPU seconds on a machine of its own
LIBRARIES = 0.15  # CPU seconds there for the interpreter with the command line's libraries alone (0.12 measured)


def cpu_seconds(arguments: list[str], folder: Path) -> float:
    """User and system time of one Python command, as the operating system accounts for it."""
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, process.stderr.read().decode()
    process.stderr.close()
    process.returncode = 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("command", [["--help"], ["list"], ["bin_packing", "--help"], ["bin_packing", "list"]])
def test_help_and_lists_take_less_than_a_third_of_a_second(command: list[str], tmp_path: Path):
    """A core shared with other work counts more CPU seconds for the same work: what the libraries need then tells."""
    command = ["-m", "interlock", *command]
    cpu_seconds(command, tmp_path)  # the first one may compile
    ours, libraries = [], []
    for _ in range(8):
        libraries.append(cpu_seconds(["-c", "import typer, yaml"], tmp_path))
        ours.append(cpu_seconds(command, tmp_path))
        if min(ours) < LIMIT * max(1.0, min(libraries) / LIBRARIES):
            return
    pytest.fail(f"{min(ours):.2f} CPU s (libraries alone: {min(libraries):.2f})")


@pytest.mark.parametrize(
    "command", ["--help", "list", "plugins", "runs", "data", "bin_packing --help", "bin_packing list"]
)
def test_help_and_lists_load_no_heavy_module(command: str, tmp_path: Path):
    code = (
        "import sys; from interlock.scenarios.cli import main; code = main(sys.argv[1:]); "
        f"print('loaded:', *[name for name in {HEAVY} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split()], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "loaded:"
    assert done.stdout
