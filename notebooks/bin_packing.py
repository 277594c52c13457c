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
# rules packers use, a bound nobody can beat, a rule tuned by search, the evidence, and one decision looked at closely.

# %% tags=["parameters"]
instances = 2000  # held-out sequences
generations = 20  # of the search

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
