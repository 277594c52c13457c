"""Start-up is part of speed: help and lists load nothing heavy and cost next to nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "pandas", "pyomo", "matplotlib")


def cpu_seconds(arguments: list[str], folder: Path) -> float:
    """User and system time of one command, as the operating system accounts for it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "interlock", *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, process.stderr.read().decode()
    process.stderr.close()
    process.returncode = 0
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("command", [["--help"], ["list"], ["bin_packing", "--help"], ["bin_packing", "list"]])
def test_help_and_lists_take_less_than_a_third_of_a_second(command: list[str], tmp_path: Path):
    cpu_seconds(command, tmp_path)  # the first one may compile
    assert min(cpu_seconds(command, tmp_path) for _ in range(4)) < 0.35


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
