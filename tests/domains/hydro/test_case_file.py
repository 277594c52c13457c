"""Systems written out, as JSON and as folders, and read again."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from interlock.core.errors import BadInput, UsageError
from interlock.domains.hydro.case import Branches, Case
from interlock.domains.hydro.case_file import case_from_json, case_to_json, write_case
from interlock.domains.hydro.generators import make_case
from interlock.domains.hydro.toy import toy_case
from interlock.domains.hydro.userdata import read_case


def test_the_toy_in_code_is_the_published_one(hydro_data: Path) -> None:
    read, notes = read_case(hydro_data / "case3")
    assert read.hash == toy_case().hash
    assert notes == ("a stage has 1 h: 1 m3/s brings K = 0.0036 hm3",)


def full_case() -> Case:
    """A system with everything that a folder may hold."""
    case = make_case(4, seed=1)
    rng = np.random.default_rng(0)
    chances = rng.dirichlet(np.ones(15), 48)
    rate = case.branches.rate.copy()
    rate[0] = np.inf
    hydros, thermals = (
        replace(
            part, min_reactive=np.r_[-np.inf, part.min_reactive[1:]], max_reactive=np.r_[np.inf, part.max_reactive[1:]]
        )
        for part in (case.hydros, case.thermals)
    )
    return replace(
        case,
        hydros=hydros,
        thermals=thermals,
        branches=replace(case.branches, rate=rate),
        probabilities=chances / chances.sum(axis=1, keepdims=True),
        stage_load=case.buses.load * rng.uniform(0.5, 1.5, (7, 1)),
        outages=((2, 3, 9), (0, 1, 1)),
        terminal_value=rng.uniform(0, 100, 4),
        currency="BOB",
    )


@pytest.mark.parametrize("make", [toy_case, full_case, lambda: make_case(20, 2)], ids=["toy", "full", "generated"])
def test_written_and_read_is_the_same(make: Callable[[], Case], tmp_path: Path) -> None:
    case = make()
    write_case(case, tmp_path / "folder")
    assert read_case(tmp_path / "folder")[0].hash == case.hash
    text = json.dumps(case_to_json(case), allow_nan=False)
    assert case_from_json(json.loads(text)).hash == case.hash


def test_a_folder_with_something_in_it_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        write_case(toy_case(), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_json_that_is_no_system() -> None:
    values = case_to_json(make_case(3, 0))
    values["hydros"] = {**values["hydros"], "max_volume": [1.0, 2.0], "colour": 1}
    values["inflows"] = [[["x"]]]
    values["stage_hours"] = "week"
    values["extra"] = 1
    del values["branches"]
    with pytest.raises(BadInput) as caught:
        case_from_json(values)
    assert list(caught.value.problems) == [
        "hydros.max_volume: expected 3 numbers",
        "hydros.colour: unknown",
        f"branches: expected a mapping with {', '.join(Branches.__dataclass_fields__)}",
        "stage_hours: got 'week', expected a number",
        "inflows: expected n x n x 3 numbers",
        "probabilities: expected 0 x 0 numbers",
        "extra: unknown",
    ]
