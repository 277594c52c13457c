"""A folder of tables to break."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interlock.core.errors import BadInput
from interlock.domains.hydro.case import Case
from interlock.domains.hydro.case_file import write_case
from interlock.domains.hydro.generators import make_case
from interlock.domains.hydro.userdata import read_case


@dataclass(frozen=True)
class CaseFolder:
    """A copy of a good folder, and what is wrong with it once it has been edited."""

    path: Path

    def edit(self, file: str, row: int, **values: str) -> None:
        """Change values of a row (the header is row 1) of a table."""
        lines = (self.path / file).read_text().splitlines()
        header, record = lines[0].split(","), lines[row - 1].split(",")
        for name, value in values.items():
            record[header.index(name)] = value
        lines[row - 1] = ",".join(record)
        self.write(file, *lines)

    def value(self, file: str, row: int, name: str) -> str:
        """A value of a table."""
        lines = (self.path / file).read_text().splitlines()
        return lines[row - 1].split(",")[lines[0].split(",").index(name)]

    def head(self, **values: Any) -> None:
        """Change values of case.json; ``None`` takes them out."""
        head = json.loads((self.path / "case.json").read_text()) | values
        (self.path / "case.json").write_text(json.dumps({k: v for k, v in head.items() if v is not None}))

    def change(self, file: str, change: Callable[[str], str]) -> None:
        """Change the text of a file."""
        (self.path / file).write_text(change((self.path / file).read_text()))

    def write(self, file: str, *lines: str) -> None:
        """Replace a file."""
        (self.path / file).write_text("\n".join(lines) + "\n")

    def case(self, **options: Any) -> Case:
        """The system in it."""
        return read_case(self.path, **options)[0]

    def notes(self, **options: Any) -> tuple[str, ...]:
        """What is told about it."""
        return read_case(self.path, **options)[1]

    def problems(self, **options: Any) -> list[str]:
        """Everything that is wrong; something must be."""
        with pytest.raises(BadInput) as caught:
            read_case(self.path, **options)
        assert caught.value.exit_code == 3
        return list(caught.value.problems)

    def only(self, **options: Any) -> str:
        """The one thing that is wrong."""
        found = self.problems(**options)
        assert len(found) == 1, found
        return found[0]


@pytest.fixture(scope="session")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder without mistakes: 5 plants in two rivers, 10 units, 12 buses; 4 stages x 3 scenarios."""
    case = make_case(5, seed=3)
    folder = tmp_path_factory.mktemp("case") / "good"
    write_case(replace(case, inflows=case.inflows[:4, :3], probabilities=np.full((4, 3), 1 / 3)), folder)
    return folder


@pytest.fixture
def good(pattern: Path, tmp_path: Path) -> CaseFolder:
    """A copy of it to break."""
    return CaseFolder(Path(shutil.copytree(pattern, tmp_path / "case")))
