"""Every notebook runs from beginning to end, with the small parameters below."""

from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))
FAST = {
    "fisheries": "futures, updates, resamples, answers = 200, 3, 20, 20",
    "bin_packing": "instances, generations, hours = 30, 2, 0.25",
    "hydro": "iterations, pretraining, updates, horizon, paths = 5, 10, 2, 10, 20",
}
PRINTED = {
    "fisheries": (
        "dynamic_programming:    6.43", "of which 0.41 in the last year", "learned: ", "policy: learned; reward",
        "year 1970, species herring, biomass: ", "K_x: ", "two prey, 2 fleets each: mortality", "fleet_x_1",
        "stock 0.75: released", "collapse_within_1_year",
    ),
    "bin_packing": (
        "linear12", "generation  2", "three known: ", "look_ahead ", "cog_offset: ", "boxes per hour [boxes/h]: ",
        "alternatives: [(", "refused: no feasible position for box", "height_map: got",
    ),
    "hydro": (
        "1639.116 $/h by the tree of all paths, 1639.116 $/h by SDDP", "ts_ddr: ", "same system: True",
        "expected a number of m3/s, at least 0", "released by policy",
    ),
}  # fmt: skip


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    notebook = jupytext.read(path)
    parameters = next(k for k, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    notebook.cells.insert(parameters + 1, nbformat.v4.new_code_cell(FAST[path.stem]))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    drawn = [output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    for text in PRINTED[path.stem]:
        assert text in printed
    assert len(drawn) >= 4
