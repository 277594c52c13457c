"""PPO of rejax, compiled by JAX as a whole, on gymnax's CartPole-v1; runs in the environment of the peers.

Its defaults (64 steps per environment, 16 minibatches, networks of 64-64), but 4 epochs and rectifiers, as we use them.

Prints one JSON object: steps and CPU seconds of training (compilation and evaluation are not counted), and the mean
return of 128 episodes of the sampled policy at several CPU seconds.
"""

import argparse
import json
import os
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import rejax


def main() -> None:
    """Train for a number of CPU seconds, pausing the clock at the marks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--envs", type=int, default=64)
    parser.add_argument("--marks", type=float, nargs="+", required=True, help="CPU seconds at which to evaluate")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    algorithm = rejax.PPO.create(
        env="CartPole-v1",
        num_envs=options.envs,
        num_epochs=4,
        agent_kwargs={"hidden_layer_sizes": (64, 64), "activation": "relu"},
    )
    # Several rounds per call, so that returning to Python costs nothing measurable.
    rounds = 8
    train = jax.jit(lambda state: jax.lax.fori_loop(0, rounds, lambda _, s: algorithm.train_iteration(s), state))
    evaluate = jax.jit(lambda state, key: algorithm.eval_callback(algorithm, state, key)[1].mean())
    state = jax.jit(algorithm.init_state)(jax.random.PRNGKey(options.seed))
    jax.block_until_ready((train(state), evaluate(state, jax.random.PRNGKey(0))))
    steps, spent, returns = 0, 0.0, []
    for mark in options.marks:
        while spent < mark:
            started = time.process_time()
            state = jax.block_until_ready(train(state))
            spent += time.process_time() - started
            steps += rounds * algorithm.iteration_size
        returns.append(float(evaluate(state, jax.random.PRNGKey(len(returns)))))
    print(json.dumps({"steps": steps, "seconds": spent, "marks": options.marks, "returns": returns}))


if __name__ == "__main__":
    main()
