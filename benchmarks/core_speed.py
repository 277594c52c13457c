"""Speed of our PPO beside its peers on CartPole: environment steps per CPU second, and return at equal CPU time.

    python benchmarks/core_speed.py [--repeats 3] [--core 0] [--json | --record]

Every trainer runs in a process of its own, pinned to one core, one after the other; each figure is the median of the
repeats (three seeds). Seconds are processor seconds of play and learning; compilation and evaluation are not counted.
Returns are means of 128 episodes of the sampled policy. Ours learns with a constraint, its multiplier and its critic,
which the peers do not have. The peers get an environment of their own in ``build/peers``, made when it is missing; a
peer that cannot be installed is shown as not measured.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "build" / "peers"
RUNNERS = ROOT / "benchmarks" / "peers"
TABLE = ROOT / "build" / "core_speed.json"
MARKS = (5.0, 10.0, 20.0)
"""CPU seconds at which the policies are evaluated; training ends at the last one."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
TARGETS = {"speed_sb3": 12.0, "speed_sb3_return": 1.0, "speed_jax": 0.4}
UNITS = {"speed_sb3": "x its steps", "speed_sb3_return": "x its return", "speed_jax": "x its steps"}


@dataclass(frozen=True)
class Trainer:
    """One line of the table.

    Attributes:
        title: who, with which settings.
        envs: environments in parallel.
        runner: file in ``benchmarks/peers`` and its options.
        ours: runs in our environment, otherwise in that of the peers.
    """

    title: str
    envs: int
    runner: tuple[str, ...]
    ours: bool = False


TRAINERS = {
    "ours": Trainer("interlock PPO + 1 constraint", 1024, ("interlock_ppo.py",), ours=True),
    "ours_cleanrl": Trainer(
        "interlock PPO + 1 constraint, cleanrl's settings", 64, ("interlock_ppo.py", "--cleanrl"), ours=True
    ),
    "sb3": Trainer("stable-baselines3 PPO, defaults", 8, ("sb3_ppo.py",)),
    "sb3_cleanrl": Trainer(
        "stable-baselines3 PPO, cleanrl's settings", 64, ("sb3_ppo.py", "--cleanrl", "--envs", "64")
    ),
    "rejax_64": Trainer("rejax PPO, 4 epochs (JAX)", 64, ("rejax_ppo.py", "--envs", "64")),
    "rejax_256": Trainer("rejax PPO, 4 epochs (JAX)", 256, ("rejax_ppo.py", "--envs", "256")),
}


def peers_python() -> Path:
    """The interpreter of the peers' environment, which is made if it is missing or was made from other requirements.

    Raises:
        subprocess.CalledProcessError: it cannot be made.
    """
    python = PEERS / "bin" / "python"
    wanted, stamp = (RUNNERS / "requirements.txt").read_text(), PEERS / "requirements.txt"
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"installing the peers into {PEERS.relative_to(ROOT)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", PEERS], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", RUNNERS / "requirements.txt"], check=True)
        stamp.write_text(wanted)
    return python


def run(python: Path, trainer: Trainer, seed: int, core: int) -> dict[str, Any]:
    """What one training printed.

    Raises:
        subprocess.CalledProcessError: it failed; its last words have been shown.
    """
    marks = [str(mark) for mark in MARKS]
    command = [python, RUNNERS / trainer.runner[0], *trainer.runner[1:], "--seed", str(seed), "--marks", *marks]
    pin: Callable[[], None] | None = None
    if hasattr(os, "sched_setaffinity"):
        pin = lambda: os.sched_setaffinity(0, {core})  # noqa: E731
    done = subprocess.run(
        command, env={**os.environ, **dict.fromkeys(THREADS, "1")}, preexec_fn=pin, capture_output=True, text=True
    )
    if done.returncode != 0:
        print(done.stderr[-2000:], file=sys.stderr)
        done.check_returncode()
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(repeats: int, core: int) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """Results of every trainer that works, and why the others do not; trainers take turns within a repeat."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in TRAINERS}
    missing: dict[str, str] = {}
    theirs = None
    try:
        theirs = peers_python()
    except (OSError, subprocess.CalledProcessError) as error:
        missing = {name: f"not installed: {error}" for name, trainer in TRAINERS.items() if not trainer.ours}
    for seed in range(repeats):
        for name, trainer in TRAINERS.items():
            python = Path(sys.executable) if trainer.ours else theirs
            if python is None or name in missing:
                continue
            try:
                result = run(python, trainer, seed, core)
            except (OSError, subprocess.CalledProcessError) as error:
                missing[name] = f"failed: {error}"
                continue
            results[name].append(result)
            rate = result["steps"] / result["seconds"]
            print(f"{seed + 1}/{repeats} {trainer.title} ({trainer.envs}): {rate:,.0f} steps / CPU s", file=sys.stderr)
    return {name: found for name, found in results.items() if found and name not in missing}, missing


def summary(results: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Medians over the repeats, by trainer."""
    return {
        name: {
            "who": TRAINERS[name].title,
            "envs": TRAINERS[name].envs,
            "steps_per_cpu_second": statistics.median(each["steps"] / each["seconds"] for each in found),
            "returns": [statistics.median(column) for column in zip(*(each["returns"] for each in found), strict=True)],
            "runs": found,
        }
        for name, found in results.items()
    }


def ratios(table: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The figures with a target, as far as the peers were measured; beside JAX, its faster line counts."""
    rate = {name: line["steps_per_cpu_second"] for name, line in table.items()}
    found = {}
    if "sb3" in table:
        found["speed_sb3"] = rate["ours"] / rate["sb3"]
        found["speed_sb3_return"] = statistics.mean(table["ours"]["returns"]) / statistics.mean(table["sb3"]["returns"])
    jax = [rate[name] for name in table if name.startswith("rejax")]
    if jax:
        found["speed_jax"] = rate["ours"] / max(jax)
    return found


def show(table: dict[str, dict[str, Any]], missing: dict[str, str], found: dict[str, float]) -> None:
    """The table, and whether the targets are met."""
    titles = [f"at {mark:g} s" for mark in MARKS]
    print(f"{'PPO on CartPole':49s} {'envs':>5s} {'steps / CPU s':>14s} {'ours is':>8s}   return {'  '.join(titles)}")
    for name, trainer in TRAINERS.items():
        start = f"{trainer.title:49s} {trainer.envs:5d}"
        if name in missing:
            print(f"{start} {missing[name]}")
            continue
        line = table[name]
        times = table["ours"]["steps_per_cpu_second"] / line["steps_per_cpu_second"]
        returns = "  ".join(f"{value:{len(t)}.0f}" for value, t in zip(line["returns"], titles, strict=True))
        print(f"{start} {line['steps_per_cpu_second']:14,.0f} {times:6.2f} x          {returns}")
    costs = [each["costs"][-1] for each in table["ours"]["runs"]]
    limit = table["ours"]["runs"][0]["limit"]
    print(
        f"constraint of ours after {MARKS[-1]:g} s: {statistics.median(costs):.1f} steps off centre (limit {limit:g})"
    )
    for name, target in TARGETS.items():
        if name in found:
            verdict = "met" if found[name] >= target else "missed"
            print(f"{name}: {found[name]:.2f} {UNITS[name]}, at least {target:g} wanted: {verdict}")


def main() -> int:
    """Measure everything and show it; exit code 1 if a target is missed or a peer could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="trainings of each; seeds 0, 1, ...")
    parser.add_argument("--core", type=int, default=0, help="processor core to pin to")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    how.add_argument("--record", action="store_true", help="write the ratios into core/results.json")
    options = parser.parse_args()
    results, missing = measure(options.repeats, options.core)
    if "ours" in missing:
        print(f"our own training {missing['ours']}", file=sys.stderr)
        return 1
    table = summary(results)
    found = ratios(table)
    everything = {"table": table, "missing": missing, "ratios": found, "marks": MARKS}
    with contextlib.suppress(OSError):
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(json.dumps(everything, indent=1))
    if options.json:
        print(json.dumps(everything))
    else:
        show(table, missing, found)
    if options.record:
        from interlock.scenarios.record import record_row

        for name, value in found.items():
            command = "python benchmarks/core_speed.py --record"
            print(record_row("core", name, value=value, unit=UNITS[name], command=command))
    return int(bool(missing) or any(found[name] < target for name, target in TARGETS.items()))


if __name__ == "__main__":
    sys.exit(main())
