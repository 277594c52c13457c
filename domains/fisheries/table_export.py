"""Copies of a trained harvest policy for people: a table that can stand in for it, a picture, and the rule in words.

The table asks the policy on a grid over the states that it visits on validation futures: 51 stocks of the species that
is caught beside a few quantiles of everything else that the policy sees. How far the table is from the policy is
measured on the visited states, and both are played on the same validation futures.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interlock.core.environment import Array, Observation
from interlock.core.evaluation.protocol import Outcomes, run_instances
from interlock.core.policy import FunctionPolicy, Policy
from interlock.domains.fisheries.control_rule import Block, ControlRule, read_control_rule, write_control_rule
from interlock.domains.fisheries.release_schema import seen_species
from interlock.domains.fisheries.scenario import FisheriesScenario
from interlock.domains.fisheries.table_about import about

if TYPE_CHECKING:
    from interlock.domains.fisheries.problem import FisheriesProblem

POINTS = 51
"""Stocks of the harvested species in the table."""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Of visited states, where the other inputs are asked."""
COARSE = (0.0, 0.5, 1.0)
"""The same where a table would have more than ``MOST`` rows."""
MOST = 100_000
STATES = 40_000
"""Years that are played, about."""
LATE = (20, 8, 3, 1)
"""Years before the last one that are asked beside the first, the middle and the last: rules change there most."""


@dataclass(frozen=True, slots=True, eq=False)
class Visited:
    """What a policy met and did on validation futures.

    Attributes:
        views: observations, ``(n, ...)`` each.
        mortality: ``(n, h)``, within [0, 1].
        outcomes: by future.
    """

    views: Observation
    mortality: Array
    outcomes: Outcomes


def exhibits(problem: "FisheriesProblem", policy: Policy, provenance: Mapping[str, Any]) -> dict[str, bytes]:
    """``about.md``, and of a policy without a memory ``control_rule.csv``, ``.json`` and ``.svg``.

    Args:
        problem: that it was trained on.
        policy: deterministic mortalities for observations.
        provenance: of the bundle, see ``interlock.core.problem.ExhibitingProblem``.
    """
    visited = visit(problem, policy)
    if _remembers(policy, visited):
        return {"about.md": about(problem, provenance, None, None).encode()}
    table = write_control_rule(tabulate(problem.scenario, policy, visited))
    rule = read_control_rule(table)
    figures = compare(problem, rule, visited)
    return {
        "about.md": about(problem, provenance, rule, figures).encode(),
        "control_rule.csv": table,
        "control_rule.json": (json.dumps(figures, indent=1, allow_nan=False) + "\n").encode(),
        "control_rule.svg": _picture(problem.scenario, rule, figures),
    }


def visit(problem: "FisheriesProblem", policy: Policy) -> Visited:
    """Play a policy on the first validation futures."""
    count = int(np.clip(STATES // problem.scenario.horizon, 20, 200))
    environment = problem.environment(count, seed=problem.scenario.evaluation.validation_seed, split="validation")
    seen: list[Observation] = []
    done: list[Array] = []

    def act(view: Observation, rng: np.random.Generator) -> Array:
        mortality = np.clip(policy.act(view, deterministic=True), 0.0, 1.0)
        seen.append(view)
        done.append(mortality)
        return mortality

    policy.reset()
    outcomes = run_instances(environment, FunctionPolicy(act), count)
    views = {name: np.concatenate([view[name] for view in seen]) for name in seen[0]}
    return Visited(views, np.concatenate(done), outcomes)


def columns_of(scenario: FisheriesScenario, views: Observation) -> dict[str, Array]:
    """Observations as the inputs of a table, ``(n,)`` each: the year counts from 1."""
    found = {f"stock_{name}": views["stock"][:, k] for k, name in enumerate(seen_species(scenario))}
    if "mean_weight" in views:
        found["mean_weight"] = views["mean_weight"][:, 0]
    if "last_mortality" in views:
        found |= {f"last_mortality_{name}": views["last_mortality"][:, k] for k, name in enumerate(scenario.harvested)}
    return {**found, "year": views["year"][:, 0] + 1.0}


def views_of(scenario: FisheriesScenario, columns: Mapping[str, Array]) -> Observation:
    """``columns_of`` the other way."""
    stocks = np.stack([columns[f"stock_{name}"] for name in seen_species(scenario)], axis=1)
    views = {"stock": stocks, "year": np.rint(columns["year"] - 1.0).astype(np.int64)[:, None]}
    if "mean_weight" in columns:
        views["mean_weight"] = columns["mean_weight"][:, None]
    if scenario.limits.max_change is not None:
        names = [f"last_mortality_{name}" for name in scenario.harvested]
        views["last_mortality"] = np.stack([columns[name] for name in names], axis=1)
    return views


def tabulate(scenario: FisheriesScenario, policy: Policy, visited: Visited) -> ControlRule:
    """Ask a policy on the grid of each harvested species."""
    columns = columns_of(scenario, visited.views)

    def decide(asked: Mapping[str, Array]) -> Array:
        policy.reset()
        return np.clip(policy.act(views_of(scenario, asked), deterministic=True), 0.0, 1.0)

    years = _years(scenario, decide, columns)

    def grid_of(name: str, quantiles: tuple[float, ...]) -> dict[str, Array]:
        grid = {key: np.unique(np.round(np.quantile(values, quantiles), 6)) for key, values in columns.items()}
        own = np.round(np.linspace(0.0, columns[f"stock_{name}"].max(), POINTS), 6)
        return {**grid, "year": years, f"stock_{name}": own}

    blocks = {}
    for j, name in enumerate(scenario.harvested):
        grid = grid_of(name, QUANTILES)
        if np.prod([float(len(axis)) for axis in grid.values()]) * len(scenario.harvested) > MOST:
            grid = grid_of(name, COARSE)
        points = np.meshgrid(*grid.values(), indexing="ij")
        values = decide({key: point.ravel() for key, point in zip(grid, points, strict=True)})[:, j]
        blocks[name] = Block(grid, values.reshape(points[0].shape))
    return ControlRule(blocks)


def compare(problem: "FisheriesProblem", rule: ControlRule, visited: Visited) -> dict[str, Any]:
    """How far the table is from the policy, and what each earns on the same futures."""
    scenario = problem.scenario
    columns = columns_of(scenario, visited.views)
    away = np.abs(rule.mortality(columns) - visited.mortality)
    alone = FunctionPolicy(lambda view, rng: rule.mortality(columns_of(scenario, view)))
    count = len(visited.outcomes.objective)
    environment = problem.environment(count, seed=scenario.evaluation.validation_seed, split="validation")
    played = {"policy": visited.outcomes, "table": run_instances(environment, alone, count)}
    return {
        "inputs": {name: block_axes(block) for name, block in rule.blocks.items()},
        "visited_states": len(away),
        "deviation": {
            name: {
                "maximum": float(away[:, j].max()),
                "mean": float(away[:, j].mean()),
                "share_above_0.01": float((away[:, j] > 0.01).mean()),
            }
            for j, name in enumerate(scenario.harvested)
        },
        "validation_futures": count,
        "mean_reward": {name: float(outcomes.objective.mean()) for name, outcomes in played.items()},
        "survival": {
            name: float(outcomes.metrics["survival"].mean())
            for name, outcomes in played.items()
            if "survival" in outcomes.metrics
        },
        "quantiles": {
            name: dict(zip(("5 %", "50 %", "95 %"), np.quantile(values, (0.05, 0.5, 0.95)).tolist(), strict=True))
            for name, values in columns.items()
        },
        "unit": "share of the stock per year; stocks in stock units",
        "scenario_hash": scenario.hash(),
    }


def block_axes(block: Block) -> dict[str, Any]:
    """Values of the inputs of a block."""
    return {name: axis.tolist() for name, axis in block.axes.items()}


def _years(
    scenario: FisheriesScenario, decide: Callable[[Mapping[str, Array]], Array], columns: Mapping[str, Array]
) -> Array:
    """Years that the table asks, from 1; the middle alone where the policy does not mind the year."""
    last, middle = scenario.horizon, max(scenario.horizon // 2, 1)
    some = {name: values[:: max(len(values) // 500, 1)] for name, values in columns.items()}
    years = sorted({1, middle, last, *(last - before for before in LATE if last - before > middle)})
    found = [decide({**some, "year": np.full_like(some["year"], year)}) for year in years]
    minds = any(np.abs(other - found[0]).max() > 1e-9 for other in found[1:])
    return np.array(years if minds else [middle], float)


def _remembers(policy: Policy, visited: Visited) -> bool:
    """Whether a policy answers the same observation differently the second time."""
    view = {name: values[:64] for name, values in visited.views.items()}
    policy.reset()
    first, second = (policy.act(view, deterministic=True) for _ in range(2))
    policy.reset()
    return bool(np.abs(first - second).max() > 1e-9)


def _picture(scenario: FisheriesScenario, rule: ControlRule, figures: Mapping[str, Any]) -> bytes:
    """A panel for each harvested species and other input: mortality by stock at three values of the other, as SVG."""
    import io

    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    quantiles = figures["quantiles"]
    panels = [
        (name, other)
        for name, block in rule.blocks.items()
        for other in [key for key, axis in block.axes.items() if len(axis) > 1 and key != f"stock_{name}"] or [""]
    ]
    wide = max(sum(name == one for one, _ in panels) for name in rule.blocks)
    figure = Figure(figsize=(4.2 * wide, 3.4 * len(rule.blocks)), layout="constrained")
    grid = figure.subplots(len(rule.blocks), wide, squeeze=False, sharey=True)
    for axis in grid.ravel():
        axis.set_visible(False)
    filled = dict.fromkeys(rule.blocks, 0)
    for name, other in panels:
        axis = grid[list(rule.blocks).index(name), filled[name]]
        filled[name] += 1
        axis.set_visible(True)
        block = rule.blocks[name]
        stock = block.axes[f"stock_{name}"]
        fixed = {key: np.full(len(stock), quantiles[key]["50 %"]) for key in block.axes}
        levels = {"": ("", 0.0)} if not other else quantiles[other]
        for (level, value), colour in zip(levels.items(), ("#0072B2", "#000000", "#D55E00"), strict=False):
            state = {**fixed, f"stock_{name}": stock} | ({other: np.full(len(stock), value)} if other else {})
            line = rule.mortality(state)[:, list(rule.blocks).index(name)]
            axis.plot(stock, line, color=colour, label=f"{value:.3g} ({level})" if other else None)
        axis.set_xlabel(f"stock of {name} (stock units)")
        axis.set_ylabel(f"mortality of {name} (share/year)")
        axis.set_ylim(-0.02, 1.02)
        axis.axvline(scenario.collapse_level, color="#C2185B", linestyle=":", linewidth=1)
        if other:
            axis.legend(title=other.replace("_", " "), fontsize=8, title_fontsize=8)
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": scenario.hash()}):
        FigureCanvasSVG(figure).print_svg(content, metadata={"Date": None})
    return content.getvalue()
