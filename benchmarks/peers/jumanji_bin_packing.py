"""Random play of jumanji's BinPack-v2, compiled by JAX; runs in an environment of its own that has jumanji.

Another problem than ours: the boxes are all known, any of them may be next, and positions are empty maximal spaces (40
of them, 20 boxes). Prints one JSON object: steps per CPU second of one bin in a Python loop, and of several at once.
"""

import json
import os
import statistics
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jumanji

ROWS, STEPS, TURNS = 16, 300, 5


def main() -> None:
    """Play, and show the medians."""
    environment = jumanji.make("BinPack-v2")
    shape = environment.action_spec.num_values

    def advance(state, timestep, key):
        key, choice, fresh = jax.random.split(key, 3)
        allowed = timestep.observation.action_mask.reshape(-1)
        picked = jax.random.categorical(choice, jax.numpy.where(allowed, 0.0, -jax.numpy.inf))
        action = jax.numpy.stack(jax.numpy.unravel_index(picked, shape))
        after = environment.step(state, action)
        state, timestep = jax.lax.cond(after[1].last(), lambda: environment.reset(fresh), lambda: after)
        return state, timestep, key

    key = jax.random.PRNGKey(0)
    rates = {}
    single = (jax.jit(environment.reset)(key), jax.jit(advance), key)
    keys = jax.random.split(key, ROWS)
    several = (jax.jit(jax.vmap(environment.reset))(keys), jax.jit(jax.vmap(advance)), keys)
    for name, rows, (first, step, keys) in (("one bin", 1, single), (f"{ROWS} bins at once", ROWS, several)):
        played = (*first, keys)
        turns = []
        for _ in range(1 + TURNS):
            started = time.process_time()
            for _ in range(STEPS):
                played = step(*played)
            jax.block_until_ready(played)
            turns.append(rows * STEPS / (time.process_time() - started))
        rates[name] = statistics.median(turns[1:])
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
