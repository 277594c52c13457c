"""Last iterates of learning rules on a small decision process, beside what is optimal: as figures and as a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from interlock.core.errors import UsageError
from interlock.core.tabular.cmdp import FiniteCMDP
from interlock.core.tabular.dynamics import STEPS, Trajectory, lagrangian, relative_violation
from interlock.core.tabular.examples import example
from interlock.core.tabular.linear_program import Optimum, constrained_optimum
from interlock.scenarios.plugins import did_you_mean
from interlock.solvers.highs import Highs

_COLOURS = {"plain": "#d1772b", "optimistic": "#1f5fa8", "pi": "#2a8a57", "entropy": "#8a4fa3"}
_ENDINGS = (".png", ".pdf", ".svg")
_LABELS = {
    "plain": "plain descent-ascent",
    "optimistic": "optimistic (ReLOAD)",
    "pi": "PI multipliers",
    "entropy": "entropy-regularised",
}


def oscillate(
    process: str, methods: Sequence[str], iterations: int | None = None
) -> tuple[FiniteCMDP, Optimum, dict[str, Trajectory]]:
    """Run learning rules with exact gradients from the uniform policy.

    Args:
        process: name of an example.
        methods: of ``interlock.core.tabular.dynamics.METHODS``.
        iterations: default: until only what lasts is left.

    Raises:
        UsageError: there is no such process or method.
    """
    if process not in STEPS:
        raise UsageError(
            f"there is no process {process!r}{did_you_mean(process, STEPS)}; there are: {', '.join(STEPS)}"
        )
    cmdp = example(process)
    steps = replace(STEPS[process], iterations=iterations or STEPS[process].iterations)
    found = {name: lagrangian(cmdp, name, steps) for name in methods}
    return cmdp, constrained_optimum(cmdp, Highs()), found


def picture_path(out: str) -> Path:
    """The file that a picture goes to; without an ending it is a ``.png``, others are ``.pdf`` and ``.svg``.

    Raises:
        UsageError: another ending than these, a folder has the name, or its own folder is missing.
    """
    path = Path(out)
    if path.is_dir():
        raise UsageError(f"--out {out}: this is a folder; name a file in it, for example {path / 'oscillation.png'}")
    if not path.suffix:
        path = path.with_name(f"{path.name}.png")
    if path.suffix.lower() not in _ENDINGS:
        raise UsageError(f"--out {out}: a picture cannot end in {path.suffix}; it can in {', '.join(_ENDINGS)}")
    if path.is_dir():
        raise UsageError(f"--out {out}: {path} is a folder")
    if not path.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {path.parent}")
    return path


def figures(cmdp: FiniteCMDP, optimum: Optimum, found: Mapping[str, Trajectory]) -> dict[str, Any]:
    """What the last tenth of the iterates and the average of all say, JSON-ready.

    Gaps are what lacks to the optimal return, as a share of the span of all returns; violations are relative.
    """
    low, high = cmdp.span()

    def gap(value: float) -> float:
        return float((optimum.value - value) / (high - low))

    methods = {}
    for name, trajectory in found.items():
        tail = trajectory.tail()
        methods[name] = {
            "gap": {"smallest": gap(tail.returns.max()), "largest": gap(tail.returns.min())},
            "violation": float(np.max(relative_violation(tail.costs, cmdp.limits), initial=0.0)),
            "average_gap": gap(trajectory.returns.mean()),
            "last": {"return": float(trajectory.returns[-1]), "costs": trajectory.costs[-1].tolist()},
        }
    return {
        "process": cmdp.name,
        "optimum": {"return": optimum.value, "multipliers": optimum.multipliers.tolist()},
        "limits": dict(zip(cmdp.cost_names, cmdp.limits.tolist(), strict=True)),
        "iterations": len(next(iter(found.values())).returns),
        "methods": methods,
    }


def draw(cmdp: FiniteCMDP, optimum: Optimum, found: Mapping[str, Trajectory], path: Path, shown: int = 300) -> None:
    """Write a picture: return and every cost, over the first and the last ``shown`` iterations.

    Raises:
        UsageError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(next(iter(found.values())).returns)
    spans = [(0, min(shown, count)), (count - shown, count)] if count > 2 * shown else [(0, count)]
    panels = 1 + len(cmdp.limits)
    figure = Figure(figsize=(9.0, 1.2 + 1.9 * panels), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(panels, len(spans), sharex="col", sharey="row", squeeze=False)
    for column, (first, last) in enumerate(spans):
        for row, axis in enumerate(axes[:, column]):
            for name, trajectory in found.items():
                values = trajectory.returns if row == 0 else trajectory.costs[:, row - 1]
                axis.plot(
                    np.arange(first, last), values[first:last], color=_COLOURS[name], label=_LABELS[name], linewidth=1.4
                )
            line = optimum.value if row == 0 else cmdp.limits[row - 1]
            axis.axhline(line, color="black", linestyle=(0, (5, 3)), linewidth=1.0)
            axis.margins(x=0.0)
            axis.spines[["top", "right"]].set_visible(False)
            if column == 0:
                axis.set_ylabel("return" if row == 0 else cmdp.cost_names[row - 1])
        axes[0, column].set_title(
            "" if len(spans) == 1 else f"{('first', 'last')[column]} {last - first} iterations", size=10
        )
        axes[-1, column].set_xlabel("iteration")
    for row, axis in enumerate(axes[:, -1]):
        text = "optimum" if row == 0 else "limit"
        level = optimum.value if row == 0 else cmdp.limits[row - 1]
        axis.annotate(
            text, (1.0, level), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center"
        )
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    try:
        figure.savefig(path, dpi=130)
    except OSError as error:
        raise UsageError(f"--out {path}: {error}") from error
