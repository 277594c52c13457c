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
# # Long-term hydrothermal dispatch
# Water is free today, but used now it is missing in the dry season. This notebook goes the whole way in a few minutes:
# a system whose optimum is known exactly, four ways to operate a larger one, what water is worth, a system of your own,
# and a decision from an exported policy.

# %% tags=["parameters"]
iterations = 60  # of SDDP
pretraining, updates = 200, 100  # of the decision rule: on one bus, then along the prices of the stage programs
horizon = 52  # weeks
paths = 200  # held-out inflow paths

# %%
from pathlib import Path

from interlock.core.decision_rules.config import PhaseSettings, Pretraining, RuleConfig
from interlock.core.decision_rules.method import train as train_rule
from interlock.core.evaluation.evidence import evaluate_policies
from interlock.core.sddp.method import SddpConfig
from interlock.core.sddp.method import train as train_sddp
from interlock.core.training import MemoryRun
from interlock.domains.hydro.playback import big_reservoirs, play
from interlock.domains.hydro.problem import build
from interlock.domains.hydro.scenario import HydroScenario

# %% [markdown]
# ## A system whose optimum is known
# Three buses, one reservoir, three hours with three inflows each: 27 paths, so the tree of all paths is one linear
# program. SDDP must come to the same cost from below.

# %%
toy = build(HydroScenario(name="toy", horizon=3))
cuts = train_sddp(toy, SddpConfig(iterations=20), MemoryRun(seed=0))
exact = toy.bounds()["extensive_form"].compute("test", 1)
proven = cuts.bounds["sddp"].compute("test", 1)
print(f"toy: {exact:.3f} $/h by the tree of all paths, {proven:.3f} $/h by SDDP")

# %% [markdown]
# ## Four ways to operate a generated system
# - myopic: as if there were no later stage,
# - rule curve: end volumes by the season,
# - SDDP: stage programs with cuts of the expected cost to go, which also prove a bound,
# - TS-DDR: a recurrent network proposes end volumes; the dual prices of the stage programs are its gradient.

# %%
scenario = HydroScenario(
    name="generated_3",
    case={"source": "generated", "n_hydro": 3},
    horizon=horizon,
    evaluation={"test_instances": paths},
)
problem = build(scenario)
sddp = train_sddp(problem, SddpConfig(iterations=iterations), MemoryRun(seed=0))
config = RuleConfig(
    pretraining=Pretraining(updates=pretraining, batch=32, learning_rate=5e-3),
    training=PhaseSettings(updates=updates, batch=16, learning_rate=2e-3),
)
rule = train_rule(problem, config, MemoryRun(seed=0))

# %%
policies = {"ts_ddr": rule, "sddp": sddp, **{name: make(0) for name, make in problem.baselines().items()}}
evidence = evaluate_policies(problem, policies)
for name, policy in evidence.to_json()["policies"].items():
    figure = policy["objective"]
    print(f"{name:>10}: {figure['mean']:8.1f} $/h  ({figure['low']:.1f} to {figure['high']:.1f})")
for name, bound in evidence.to_json()["bounds"].items():
    print(f"nobody below {bound['value']:8.1f} $/h ({name})")

# %% [markdown]
# ## What water is worth
# A stage whose end volumes are fixed has a price of water: what a little more would save. Good operation keeps it level
# over the stages; myopic operation gives water away in the wet season.

# %%
plant = big_reservoirs(problem.case, 1)[0]
for name in ("myopic", "ts_ddr", "sddp"):
    value = play(problem, policies[name], evidence.seed, evidence.split, 20).water_value[:, :, plant].mean(axis=0)
    print(f"{name:>10}: water value of {problem.case.hydros.names[plant]} between {value.min():,.0f} and "
          f"{value.max():,.0f} $/hm3, standard deviation {value.std():,.0f}")  # fmt: skip

# %% [markdown]
# ## Pictures
# The same ones as in the report of `interlock hydro run generated-3`.

# %%
for figure in problem.figures().values():
    print(figure.title, "-", figure.caption)
    figure.draw(policies, evidence).show()

# %% [markdown]
# ## A system of your own
# A folder with `case.json` and a few tables, units in every column name. Writing out a known system gives a folder to
# start from; whatever is wrong with it is told at once, with file, row and unit.

# %%
from interlock.core.errors import BadInput
from interlock.domains.hydro.case_file import write_case

folder = Path("my_system")
write_case(problem.case, folder)
print("written:", ", ".join(sorted(file.name for file in folder.iterdir())))
mine = build(scenario.with_changes(name="mine"), folder)
print("same system:", mine.case.hash == problem.case.hash)
inflows = folder / "inflows.csv"
right = inflows.read_text()
inflows.write_text(right.replace("\n1,1,", "\n1,1,-", 1))
try:
    build(scenario.with_changes(name="mine"), folder)
except BadInput as error:
    print(error)
inflows.write_text(right)

# %% [markdown]
# ## From policy to decision
# The bundle holds the network, the system and the checks, and needs neither torch nor this problem. What it answers has
# been dispatched on the network and checked.

# %%
from interlock.operations.decide import Decider
from interlock.scenarios.export import write_bundle

write_bundle(Path("bundle"), problem=problem, policy=rule, run_info={}, evidence_summary=evidence.to_json()["policies"])
decider = Decider(Path("bundle"))
request = decider.contract.sample_requests(1, seed=0)[0]
answer = decider.decide(request)
print("stage", request["stage"], "-", answer["status"], "by", answer["source"])
for name in ("target_hm3", "turbined_m3s", "spilled_hm3", "expected_stage_cost", "water_value_per_hm3"):
    print(f"{name:>20}: {answer[name]}")
