# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Fisheries management
# How much to catch, year after year, without losing a species. This notebook goes the whole way in a few minutes: a
# stock with a tipping point, the rules of agencies and the optimum, how much of that optimum is liquidation, a learned
# control rule, what it leaves in the water, a model fitted to a history of catches, a commons of several fleets, and a
# decision from an exported rule.

# %% tags=["parameters"]
futures = 10_000  # held-out futures of a comparison
updates = 100  # of training
resamples = 200  # of the history, for intervals
answers = 300  # futures on which a fleet tries its mortalities

# %%
from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from interlock.core.evaluation.evidence import evaluate_policies
from interlock.domains.fisheries import DOMAIN
from interlock.domains.fisheries.problem import build
from interlock.scenarios.loading import load_scenario

# %% [markdown]
# ## A stock with a tipping point
# Logistic growth under a saturating grazer (May 1977). Unfished it lives near 0.8 of its carrying capacity; fished down
# below a threshold it collapses for good. A future has 200 years.

# %%
scenario = load_scenario(DOMAIN, "may_safe")
problem = build(scenario)
print("harvested:", *scenario.harvested, "- years:", scenario.horizon, "- collapse at:", scenario.collapse_level)
print(problem.bounds()["dynamic_programming"].describe)

# %% [markdown]
# ## Rules of agencies, and the optimum
# All rules were tuned on training futures; here each meets the same held-out ones. Reward is catch in carrying
# capacities, less the penalty of a collapse. Half the growth rate, F_MSY of logistic growth alone, empties this sea.

# %%
rules = {name: make(0) for name, make in problem.baselines().items()}
evidence = evaluate_policies(problem, rules, instances=futures)
for name, found in evidence.policies.items():
    survival = found.metrics["survival"].mean
    print(f"{name:>24}: {found.objective.mean:7.2f} ({found.objective.low:.2f} to {found.objective.high:.2f}), "
          f"survival {survival:.3f}")  # fmt: skip
for name, bound in evidence.to_json()["bounds"].items():
    print(f"{name:>24}: {bound['value']:7.2f}, which no policy beats on average")

# %% [markdown]
# ## How much of the optimum is liquidation
# The optimum knows that the world ends after 200 years and sells the stock before. The rule of year 150, played
# throughout, does not: the fair comparison for a rule without a clock. In the first year both take what the stock has
# above the level at which it grows best.


# %%
def by_year(policy, rows=2000):
    """Mean reward of every year."""
    environment = problem.environment(rows, seed=1, split="validation")
    view, alive, found = environment.reset(), np.ones(rows), []
    for _ in range(scenario.horizon):
        step = environment.step(policy.act(view, deterministic=True))
        found.append((alive * step.reward).mean())
        alive[step.done] = 0.0
        view = step.observation
    return np.array(found)


shown = ("optimum", "optimum_stationary", "constant_escapement")
rewards = {name: by_year(rules[name]) for name in shown}
lead = rewards["optimum"] - rewards["optimum_stationary"]
print(f"the optimum leads the rule of year 150 by {lead.sum():.2f}, of which {lead[-1]:.2f} in the last year")
figure = go.Figure()
for name, dash in zip(shown, ("solid", "dash", "dot"), strict=True):
    figure.add_scatter(y=rewards[name].cumsum(), name=name.replace("_", " "), line={"dash": dash})
figure.update_layout(
    title="The optimum empties the sea in the last year",
    xaxis_title="year",
    yaxis_title="reward up to this year [carrying capacities]",
)
figure.show()

# %% [markdown]
# ## A learned control rule
# The model is differentiable, so a small network can learn by the exact gradient through whole futures. Its output is
# the stock to leave, a form that reads like a rule of an agency.

# %%
from interlock.core.pathwise.config import PathwiseConfig
from interlock.core.pathwise.method import train
from interlock.core.training import MemoryRun

run = MemoryRun(seed=0)
config = PathwiseConfig(form="escapement", encoder="units", updates=updates, batch=256, validate_every=20)
learned = train(problem, config, run)
policies = {"learned": learned, **rules}
evidence = evaluate_policies(problem, policies, instances=futures)
for name in ("learned", "constant_escapement", "optimum_stationary"):
    found = evidence.policies[name]
    print(f"{name:>24}: {found.objective.mean:.3f} ({found.objective.low:.3f} to {found.objective.high:.3f}), "
          f"survival {found.metrics['survival'].mean:.3f}")  # fmt: skip

# %% [markdown]
# ## Pictures
# The same ones as in the report of `interlock fisheries run may-safe`.

# %%
for figure in problem.figures().values():
    print(figure.title, "-", figure.caption)
    figure.draw(policies, evidence).show()

# %% [markdown]
# ## What it leaves in the water
# Survival, years close to the limit, how steady the catch is, and who is still ahead where the parameters of the model
# are off: the report of `interlock fisheries sustainability may-safe`.

# %%
from interlock.domains.fisheries import sustainability

chosen = {name: policies[name] for name in ("learned", "constant_escapement", "constant_mortality")}
found = sustainability.play(problem, chosen, 0, lambda done, total: None)
for row in found.rows:
    print("; ".join(f"{column}: {value}" for column, value in zip(found.columns, row, strict=True)))
for title, caption, picture in found.figures.values():
    print(title, "-", caption)
    picture.show()

# %% [markdown]
# ## Your own fishery
# Two tables: species, and a history of biomass and catch. The example is 60 years of two prey and their predator, made
# by a simulator, so that the truth is known; the growth of herring falls by 0.005 a year. Whatever is wrong with a file
# is told at once, with row, year and unit.

# %%
from interlock.core.errors import BadInput
from interlock.domains.fisheries import history
from interlock.domains.fisheries.fitted import fitted_values, task_of, told
from interlock.domains.fisheries.fitting import fit
from interlock.domains.fisheries.fitting_bootstrap import bootstrap
from interlock.domains.fisheries.userdata import read_folder

folder = Path("my_fishery")
history.write(folder)
table = folder / "stock_history.csv"
right = table.read_text()
print(*right.splitlines()[:4], sep="\n")
table.write_text(right.replace("1970,herring,", "1970,herring,-", 1))
try:
    read_folder(folder)
except BadInput as error:
    print(error)
table.write_text(right)

# %%
mine = read_folder(folder)
estimate = fit(mine.history, task_of(mine, mine.history, grazer=True, drift=True))
drawn = bootstrap(estimate, mine.history, resamples=resamples, seed=0)
truth = history.scenario()
known = {
    **truth.model.model_dump(), "trend": history.TREND, "K_x": history.TONNES[0], "K_y": history.TONNES[1]
}  # fmt: skip
for one in told(mine, estimate, drawn):
    print(f"{one.name:>8}: {one.value:10.4g} {one.unit:<16} ({one.low:.4g} to {one.high:.4g}), "
          f"in truth {known.get(one.name, float('nan')):.4g}")  # fmt: skip

# %%
years = mine.history.years
figure = go.Figure()
for column, species in enumerate(mine.species):
    figure.add_scatter(x=years, y=mine.history.biomass[:, column], name=f"{species.name}, biomass")
    if species.harvested:
        figure.add_bar(x=years, y=mine.history.catch[:, column], name=f"{species.name}, catch", opacity=0.5)
figure.update_layout(title="A history of 60 years", xaxis_title="year", yaxis_title="biomass, catch [t]")
figure.show()
fitted = type(scenario).model_validate({"name": "mine", **fitted_values(mine, mine.history, estimate)})
print("fitted scenario:", fitted.model.kind, "- harvested:", *fitted.harvested, "- drift of", fitted.drift[0].parameter)

# %% [markdown]
# ## A commons of several fleets
# Fleets that each look after their own catch answer each other until nobody gains by a change. Where every species has
# one owner, next to nothing is lost here: what an owner takes too much is missing in its own catch. Where fleets share
# a stock, each takes what the others would have left.

# %%
from interlock.domains.fisheries.commons import commons

web = load_scenario(DOMAIN, "web_two_fisheries")
games = {
    "one stock, 2 fleets": (scenario, ("x",) * 2, 0.1),
    "one stock, 4 fleets": (scenario, ("x",) * 4, 0.1),
    "two prey, an owner each": (web, ("x", "y"), 0.5),
    "two prey, 2 fleets each": (web, ("x", "x", "y", "y"), 0.5),
}
outcome = {}
for name, (waters, fleets, most) in games.items():
    outcome[name] = game = commons(waters, fleets, most=most, futures=answers)
    alone = " and ".join(f"{value:.3f}" for value in game.mortality[1])
    council = " and ".join(f"{value:.3f}" for value in game.mortality[0])
    print(f"{name}: mortality {council} by a council, {alone} left alone; reward {game.reward[0]:.2f} -> "
          f"{game.reward[1]:.2f}, survival {game.survival[0]:.2f} -> {game.survival[1]:.2f}")  # fmt: skip

# %%
figure = go.Figure()
for place, title in enumerate(("one council", "each fleet for itself")):
    heights = [100 * game.reward[place] / game.reward[0] for game in outcome.values()]
    texts = [f"survival {game.survival[place]:.2f}" for game in outcome.values()]
    figure.add_bar(x=list(outcome), y=heights, name=title, text=texts)
figure.update_layout(title="What is lost where nobody owns the stock", yaxis_title="reward [% of one council's]")
figure.show()

# %% [markdown]
# The same game step by step, for learners of several agents: a PettingZoo environment with one agent per fleet.

# %%
from interlock.core.adapters import as_parallel
from interlock.domains.fisheries.fleets import FleetsEnvironment

game = as_parallel(FleetsEnvironment(web, 1, seed=0, split="train", fleets=("x", "x", "y")))
views, _ = game.reset(seed=3)
_, earned, *_ = game.step(dict.fromkeys(game.agents, np.array([0.1])))
print({agent: round(reward, 4) for agent, reward in earned.items()})

# %% [markdown]
# ## From rule to decision
# The bundle holds the rule, the checks and readable copies of it, and needs neither torch nor this problem. What it
# answers has been checked for the probability of a collapse within the year.

# %%
from interlock.operations.decide import Decider
from interlock.scenarios.export import write_bundle

write_bundle(
    Path("bundle"), problem=problem, policy=learned, run_info={}, evidence_summary=evidence.to_json()["policies"]
)
decider = Decider(Path("bundle"))
for stock in (0.75, 0.35):
    answer = decider.decide({"year": 12, "stock": {"x": stock}})
    print(f"stock {stock}: {answer['status']} by {answer['source']}")
    for name, value in answer.items():
        if name in ("mortality", "tac", "next_stock_mean", "collapse_within_1_year", "collapse_within_5_years"):
            print(f"{name:>24}: {value}")
print("files:", ", ".join(sorted(file.name for file in Path("bundle").iterdir())))
