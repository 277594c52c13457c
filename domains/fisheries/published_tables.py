"""What the verb ``published`` shows: values, table and pictures from published figures and ours."""

from collections.abc import Mapping, Sequence
from typing import Any

from interlock.core.evaluation.statistics import Estimate, student
from interlock.core.problem import Findings
from interlock.domains.fisheries.published import SHARE, UNIT, Fresh, Measured, SameEpisodes
from interlock.domains.fisheries.published_perturbed import DRAWS

LEARNED = ("ppo", "ppo_smoothed")
"""Published strategies that were learned."""

_COUNTERPARTS = {"ppo": "ppo", "ppo_gp": "ppo_smoothed", "gp_smoothing": "ppo_smoothed", "ppo_smoothed": "ppo_smoothed"}

COLUMNS = (
    "strategy",
    f"in print [{UNIT}]",
    "full length [share]",
    f"(a) last year left out [{UNIT}]",
    f"(b) tuned on the same 100 [{UNIT}]",
    f"(c) both [{UNIT}]",
    f"honest [{UNIT}]",
    "survival [share]",
)
"""Of the table of strategies."""

EXPLAINED = (
    "in print: mean (standard deviation of an episode) and share of episodes that reached the last year; (a) the last "
    "year and its penalty are left out; (b) the best of a grid, reported on the 100 episodes of its search; (c) both, "
    "as in print, with the range of 95 % of single searches; honest: whole episodes on fresh futures; ± is the "
    "half-width of a 95 % interval; shares of the best constant mortality are in print with the last year and its "
    "penalty: compare them with honest, not with (a); searches for two species keep the best 10 % of the grid by the "
    "first search"
)
"""What the columns mean."""


LEAST_DRAWS = 2
"""Parameter draws kept that a mean with an interval needs."""

_ROOT = 10.0
"""Square root of the published number of episodes."""


def findings(measured: Measured, notes: Sequence[str]) -> Findings:
    """Everything that the verb found, with further notes."""
    strategies = strategy_values(measured)
    values: dict[str, Any] = {"strategies": strategies}
    figures = {"strategies": _strategies_figure(strategies)}
    if measured.perturbed:
        values["perturbed"] = perturbed_values(measured)
        figures["perturbed"] = _perturbed_figure(values["perturbed"])
    return Findings(
        values=values,
        columns=COLUMNS,
        rows=[[name.replace("_", " "), *strategy_texts(one)] for name, one in strategies.items()],
        figures=figures,
        notes=[
            *notes,
            EXPLAINED,
            "(b) and (c) are about grid searches: a learned policy is trained on other episodes than it is told on",
            *_perturbed_notes(values.get("perturbed", ())),
        ],
    )


def strategy_values(measured: Measured) -> dict[str, dict[str, Any]]:
    """Name -> the figures of a strategy, in print and ours."""
    found: dict[str, dict[str, Any]] = {}
    printed, searched = measured.printed, {str(kind): one for kind, one in measured.searched.items()}
    for name, one in measured.played.items():
        found[name] = {"in_print": _in_print(printed, name), **_fresh_values(one)}
        if name in searched:
            found[name] |= _searched_values(searched[name])
    taken = {counterpart(name) for name in measured.played}
    for name in LEARNED:
        if name not in taken:
            found[f"{name} in print"] = {"in_print": _in_print(printed, name)}
    return found


def counterpart(name: str) -> str | None:
    """The published learned strategy that a learned policy stands beside, by the name of its preset or method."""
    return _COUNTERPARTS.get(name.partition(" ")[0])


def strategy_texts(values: Mapping[str, Any]) -> list[str]:
    """The columns of a strategy after its name."""
    in_print, both = values["in_print"], values.get("both")
    return [
        "" if in_print is None else f"{in_print['reward']:.2f} ({in_print['sd']:.2f}){_mark(in_print)}",
        "" if in_print is None else f"{in_print['full_length']:.2f}",
        _mean(values.get("last_year_left_out"), 2),
        _mean(values.get("same_episodes"), 2),
        "" if both is None else f"{both['mean']:.2f} ({both['from']:.2f} to {both['to']:.2f})",
        _mean(values.get("reward"), 2),
        _mean(values.get("survival"), 3),
    ]


def perturbed_values(measured: Measured) -> list[dict[str, Any]]:
    """One entry per noise: draws kept, and differences from constant escapement, in print and ours.

    Where fewer than ``LEAST_DRAWS`` draws are kept, ours are ``None``.
    """
    return [
        {
            "noise": one.noise,
            "kept": one.kept,
            "in_print": {key: value for key, value in paper.items() if key != "noise"},
            "differences": {
                name: None
                if one.kept < LEAST_DRAWS
                else {**_interval(student(values), UNIT), "sd": float(values.std(ddof=1))}
                for name, values in one.strategies.items()
            },
        }
        for paper, one in zip(measured.printed["perturbed"], measured.perturbed, strict=True)
    ]


def _in_print(printed: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Published figures of a strategy; those of a share of the best mortality say that the last year is in them."""
    strategies = printed["strategies"]
    plain = name.removesuffix(" in print")
    for known in (name, plain, counterpart(name)):
        if known in strategies:
            return {key: strategies[known][key] for key in ("reward", "sd", "full_length")}
    for one in printed.get("shares", ()):
        if plain == f"{one['share']:.2f} of constant_mortality":
            return {**{key: one[key] for key in ("reward", "sd", "full_length")}, "with_last_year": True}
    return None


def _mark(in_print: Mapping[str, Any]) -> str:
    return " with last year" if in_print.get("with_last_year") else ""


def _fresh_values(one: Fresh) -> dict[str, Any]:
    return {
        "last_year_left_out": {**_interval(one.cut, UNIT), "sd": one.sd},
        "full_length": _interval(one.full_length, SHARE),
        "reward": _interval(one.reward, UNIT),
        "survival": _interval(one.survival, SHARE),
    }


def _searched_values(one: SameEpisodes) -> dict[str, Any]:
    return {
        "same_episodes": _interval(one.reward, UNIT),
        "same_episodes_survival": _interval(one.survival, SHARE),
        "both": {**_interval(one.cut, UNIT), "from": one.cut_range[0], "to": one.cut_range[1]},
        "both_full_length": _interval(one.full_length, SHARE),
    }


def _interval(estimate: Estimate, unit: str) -> dict[str, Any]:
    return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high, "unit": unit}


def _mean(figure: Mapping[str, Any] | None, digits: int) -> str:
    if figure is None:
        return ""
    half = max(figure["high"] - figure["mean"], figure["mean"] - figure["low"])
    return f"{figure['mean']:.{digits}f} ± {half:.{digits}f}"


def _perturbed_notes(values: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    for one in values:
        ours = ", ".join(
            f"{name} {'none' if told is None else '{:.2f} ({:.2f})'.format(told['mean'], told['sd'])}"
            for name, told in one["differences"].items()
        )
        paper = ", ".join(
            f"{name} {one['in_print'][name]['difference']:.2f} ({one['in_print'][name]['sd']:.2f})" for name in LEARNED
        )
        found.append(
            f"parameters off by {one['noise']:g}, reward above constant escapement, mean (sd) over draws: ours {ours}, "
            f"{one['kept']} of {DRAWS} draws kept; in print {paper}, {one['in_print']['draws']} kept"
            f"{'' if one['kept'] >= LEAST_DRAWS else '; a difference needs at least two draws'}"
        )
    return found


def _strategies_figure(strategies: Mapping[str, Mapping[str, Any]]) -> tuple[str, str, Any]:
    import plotly.graph_objects as go

    figure, names = go.Figure(), list(strategies)
    kinds = (
        ("in print", "in_print", "#7F7F7F", "x"),
        ("(a) last year left out", "last_year_left_out", "#56B4E9", "circle"),
        ("(b) tuned on the same 100", "same_episodes", "#CC79A7", "square"),
        ("(c) both", "both", "#D55E00", "diamond"),
        ("honest", "reward", "#0072B2", "circle"),
    )
    for place, (title, key, colour, symbol) in enumerate(kinds):
        found = [(row, one[key]) for row, one in enumerate(strategies.values()) if one.get(key) is not None]
        printed = key == "in_print"
        figure.add_scatter(
            x=[told["reward"] if printed else told["mean"] for _, told in found],
            y=[row + 0.14 * (place - 2) for row, _ in found],  # one line each, so that equal figures are seen
            error_x={
                "array": [1.96 * told["sd"] / _ROOT if printed else told["high"] - told["mean"] for _, told in found],
                "thickness": 1.2,
                "width": 3,
            },
            mode="markers",
            name=title,
            marker={"color": colour, "symbol": symbol, "size": 7},
        )
    figure.update_layout(
        xaxis_title=f"mean reward of an episode [{UNIT}]",
        yaxis={
            "tickvals": list(range(len(names))),
            "ticktext": [name.replace("_", " ") for name in names],
            "range": [len(names) - 0.5, -0.5],
        },
        height=160 + 55 * len(names),
        margin={"l": 10},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )
    caption = (
        "Mean rewards in print and ours, bars are 95 % intervals of the mean. The honest figure counts whole episodes "
        "on futures that no search has seen; (a) to (c) do what the published evaluation did."
    )
    return "In print and ours", caption, figure


def _perturbed_figure(values: Sequence[Mapping[str, Any]]) -> tuple[str, str, Any]:
    import plotly.graph_objects as go

    figure = go.Figure()
    noises = [one["noise"] for one in values]
    lines = [
        (f"{name.replace('_', ' ')} in print", [one["in_print"][name] for one in values], "difference", "dot")
        for name in LEARNED
    ]
    lines += [
        (name.replace("_", " "), [one["differences"][name] for one in values], "mean", "solid")
        for name in values[0]["differences"]
    ]
    for place, (title, told, key, dash) in enumerate(lines):
        points = [(noise + 0.001 * place, one) for noise, one in zip(noises, told, strict=True) if one is not None]
        figure.add_scatter(
            x=[noise for noise, _ in points],
            y=[one[key] for _, one in points],
            error_y={"array": [one["sd"] for _, one in points], "thickness": 1, "width": 3},
            mode="lines+markers",
            line={"dash": dash},
            name=title,
        )
    figure.update_layout(
        xaxis_title="relative standard deviation of every parameter",
        yaxis_title=f"reward above constant escapement [{UNIT}]",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"},
    )
    caption = (
        "How far strategies stay ahead of constant escapement where the parameters are off; bars are standard "
        "deviations over parameter draws. Dotted: in print. Strategies are those found for the true parameters."
    )
    return "Where the parameters are off", caption, figure
