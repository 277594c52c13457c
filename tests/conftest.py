"""Shared by all tests: where things are, third-party packages installed aside, the command line as users run it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Set before numpy is loaded: matrices here are small, and threads of their own only slow two workers down.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def packing_data() -> Path:
    """The published bin packing files, where they are at hand."""
    folder = DATA / "bin_packing"
    if not folder.is_dir():
        pytest.skip(f"no data in {folder.relative_to(ROOT.parent)} beside the checkout")
    return folder


@pytest.fixture(scope="session")
def hydro_data() -> Path:
    """The published hydrothermal systems, where they are at hand."""
    folder = DATA / "hydro"
    if not folder.is_dir():
        pytest.skip(f"no data in {folder.relative_to(ROOT.parent)} beside the checkout")
    return folder


@pytest.fixture(scope="session")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the example package and the broken one are installed, as pip installs them for users."""
    target = tmp_path_factory.mktemp("site")
    packages = [str(ROOT / "tests" / "plugins" / name) for name in ("interlock_demo", "interlock_broken")]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), *packages], check=True, cwd=target)
    return target


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one object on stdout."""
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """`interlock` in a folder of its own, in a process of its own.

    Attributes:
        folder: current folder of the commands, and so of the run store.
        site: folder with further packages, if any.
    """

    folder: Path
    site: Path | None = None

    def environment(self) -> dict[str, str]:
        """Variables of the process; nothing of the tester's own store."""
        inherited = {name: value for name, value in os.environ.items() if name != "INTERLOCK_STORE"}
        path = [str(self.site)] if self.site else []
        return {**inherited, "PYTHONPATH": os.pathsep.join(path), "COLUMNS": "120"}

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """A command under way, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "interlock", *arguments],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *arguments: str, stdin: str | None = None) -> Done:
        """A command from beginning to end."""
        done = subprocess.run(
            [sys.executable, "-m", "interlock", *arguments],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            input=stdin,
            timeout=300,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def command_line() -> type[CommandLine]:
    """For command lines in other folders than a test's own."""
    return CommandLine


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    """The command line in an empty folder."""
    return CommandLine(tmp_path)


@pytest.fixture
def demo_cli(tmp_path: Path, third_party: Path) -> CommandLine:
    """The command line in an empty folder, with the third-party packages installed."""
    return CommandLine(tmp_path, third_party)
