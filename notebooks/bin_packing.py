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
# # Online 3D bin packing
# Boxes come one by one and are set down for good. This notebook goes the whole way in a few minutes: a scenario, the
# rules packers use, a bound nobody can beat, a rule tuned by search, the evidence, the variants, limits, the robot cell
# in time, and one decision looked at closely.

# %% tags=["parameters"]
instances = 2000  # held-out sequences
generations = 20  # of the search
hours = 8.0  # of a shift in the robot cell

# %%
from interlock.core.evaluation.evidence import evaluate_policies
from interlock.core.search.cross_entropy import CrossEntropyConfig, train
from interlock.core.training import MemoryRun
from interlock.domains.bin_packing.problem import build
from interlock.domains.bin_packing.scenario import BinPackingScenario

scenario = BinPackingScenario(name="cut2", stream="cut2")
problem = build(scenario)

# %% [markdown]
# ## A rule tuned by cross-entropy search
# Each generation plays its candidates on the same training sequences; validation sequences choose among generations.
# The test sequences below are used for neither.

# %%
run = MemoryRun(seed=0)
tuned = train(problem, CrossEntropyConfig(generations=generations), run)
for row in run.curves:
    print(f"generation {row['step']:>2}: validation utilisation {row['eval/objective']:.1f} %")

# %% [markdown]
# ## Evidence
# Every policy plays the same held-out sequences; intervals are 95 %.

# %%
policies = {"tuned": tuned, **{name: make(0) for name, make in problem.baselines().items()}}
evidence = evaluate_policies(problem, policies, instances=instances)
for name, policy in evidence.to_json()["policies"].items():
    figure = policy["objective"]
    print(f"{name:>10}: {figure['mean']:5.1f} %  ({figure['low']:.1f} to {figure['high']:.1f})")

# %% [markdown]
# ## Pictures
# The same ones as in the report of `interlock bin_packing run cut2`.

# %%
for figure in problem.figures().values():
    print(figure.title, "-", figure.caption)
    figure.draw({"tuned": tuned}, evidence).show()

# %% [markdown]
# ## Boxes to come, several bins
# Where the next boxes are seen, a search plays them out before it places the one in front. Where several bins stand
# open, or several boxes are held, a placement is also the choice of a bin or of a box; the rules play all of it.

# %%
chosen = ("linear12", "look_ahead", "fullest_first")
variants = {
    "one box known": scenario,
    "three known": scenario.with_changes(look_ahead=3),
    "four bins open": scenario.with_changes(bin={"open": 4}),
    "five boxes held": scenario.with_changes(buffer=5),
}
for words, variant in variants.items():
    varied = build(variant)
    playing = {name: make(0) for name, make in varied.baselines().items() if name in chosen}
    found = evaluate_policies(varied, playing, instances=instances // 10)
    means = ", ".join(f"{name} {policy.objective.mean:.1f} %" for name, policy in found.policies.items())
    print(f"{words:>16}: {means}")
    if variant.bin.open > 1:
        varied.figures()["bin"].draw(playing, found).show()

# %% [markdown]
# ## Limits
# Limits are columns of the cost: each policy's value stands against the limit with its interval. `mask_ppo` and the
# constrained methods train against them (`interlock bin_packing run cut2_constrained`).

# %%
limited = build(scenario.with_changes(max_overhang=0.05, max_cog_offset=0.05))
found = evaluate_policies(
    limited, {name: limited.baselines()[name](0) for name in ("linear12", "dbl")}, instances=instances
)
for name, policy in found.policies.items():
    for limit, value in policy.constraints.items():
        verdict = "kept" if value.satisfied else "not kept"
        print(f"{name:>10} {limit:>20}: {value.mean:.3f} ({value.low:.3f} to {value.high:.3f}), {verdict}")

# %% [markdown]
# ## The cell in time
# Boxes arrive, the policy decides, the robot places, full bins are changed: what a fuller bin is worth
# in boxes per hour.

# %%
from interlock.domains.bin_packing.simulation import play as play_cell

cell = build(scenario.with_changes(cell={"hours": hours, "shifts": 2, "decision_s": 0.01}))
playing = {"tuned": tuned, "dbl": cell.baselines()["dbl"](0)}
shifts = play_cell(cell, playing, 0, lambda done, total: None)
for row in shifts.rows:
    print(", ".join(f"{column}: {value}" for column, value in zip(shifts.columns, row, strict=True)))
shifts.figures["timeline"][2].show()

# %% [markdown]
# ## One decision
# What an exported policy answers to a request: the place, how it is supported, what else it might have done. Where no
# place is left, it refuses and says which rule forbids how many. Wrong requests are told what is wrong with them.

# %%
from pathlib import Path

from interlock.operations.decide import Decider
from interlock.scenarios.export import write_bundle

write_bundle(
    Path("bundle"), problem=problem, policy=tuned, run_info={}, evidence_summary=evidence.to_json()["policies"]
)
decider = Decider(Path("bundle"))
request = decider.contract.sample_requests(1, seed=0)[0]
answer = decider.decide(request)
print("decided by", answer["source"], "-", answer["decision"], answer["support"])
print("alternatives:", [(other["x"], other["y"], round(other["score"], 2)) for other in answer["alternatives"]])
full = {**request, "height_map": [[9] * 10] * 10}
print("refused:", decider.decide(full)["refuse"]["reason"])
wrong = decider.decide({**request, "height_map": [[9] * 10] * 9, "preset": "paper"})
print("invalid:", *wrong["problems"], sep="\n  ")
