"""A policy folder that is damaged or from elsewhere is refused by name, whatever is wrong with it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from gymnasium import spaces
from safetensors.numpy import load_file, save_file

from interlock.core.actor_critic.config import NetworkSettings
from interlock.core.errors import BadInput
from interlock.core.heads import build_head
from interlock.core.network_policy import NetworkPolicy, load_network_policy
from interlock.core.networks import build_network
from interlock.core.policy import POLICY_FORMAT
from tests.core.small_environments import SmallEnvironment, small_problem


class Numbers(SmallEnvironment):
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    width = 3


PROBLEM = small_problem(Numbers)
VIEW = {"vector": np.linspace(-1.0, 1.0, 12, dtype=np.float32).reshape(4, 3)}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NetworkPolicy]:
    settings = NetworkSettings(hidden=(4,))
    head = build_head(Numbers.action_space, "gaussian", log_std=-1.0)
    network = build_network(VIEW, head, settings, seed=3, signals=2)
    description = {
        "encoder": "vector",
        "network": settings.model_dump(mode="json"),
        "head": "gaussian",
        "head_options": {"log_std": -1.0},
        "signals": 2,
        "randomised": False,
        "input_shapes": {"vector": [3]},
        "actions": 0,
        "signature": PROBLEM.scenario.signature(),
    }
    policy = NetworkPolicy(network, PROBLEM.encoders()["vector"], description)
    folder = tmp_path_factory.mktemp("policy")
    policy.save(folder)
    return folder, policy


@pytest.fixture
def folder(written: tuple[Path, NetworkPolicy], tmp_path: Path) -> Path:
    """A copy to damage."""
    copied: Path = shutil.copytree(written[0], tmp_path / "policy")
    return copied


def describe(folder: Path, **changes: object) -> None:
    """Change or, with ``None``, remove fields of ``policy.json``."""
    file = folder / "policy.json"
    described = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({name: value for name, value in described.items() if value is not None}))


def refused(folder: Path) -> tuple[str, ...]:
    with pytest.raises(BadInput) as caught:
        load_network_policy(folder, PROBLEM)
    assert caught.value.source == str(folder)
    return caught.value.problems


def test_a_sound_folder_acts_as_what_was_saved(written):
    saved, policy = written
    assert np.array_equal(load_network_policy(saved, PROBLEM).act(VIEW), policy.act(VIEW))


@pytest.mark.parametrize(
    "name", ["encoder", "network", "head", "head_options", "signals", "randomised", "input_shapes", "actions"]
)
def test_what_is_missing_is_named(folder, name):
    describe(folder, **{name: None})
    (problem,) = refused(folder)
    assert problem.startswith(f"policy.json: {name} must be ")
    assert problem.endswith(", and is missing")


def test_everything_missing_is_told_at_once(folder):
    describe(folder, head=None, head_options=None, signals="two")
    assert refused(folder) == (
        "policy.json: head must be text, and is missing",
        "policy.json: head_options must be an object, and is missing",
        "policy.json: signals must be a whole number, got 'two'",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "planes"}, "policy.json: no encoder 'planes'; this problem has vector"),
        ({"head": "categorical"}, "policy.json: a head of kind 'categorical' needs"),
        ({"head": "cauchy"}, "policy.json: no head is called 'cauchy'"),
        ({"head_options": {"log_std": "x"}}, "policy.json: a head of kind 'gaussian': option log_std must be"),
        ({"network": {"hiden": [4]}}, "policy.json: network.hiden: "),
        ({"network": {"hidden": [-4]}}, "policy.json: network.hidden.0: "),
        ({"signals": 0}, "policy.json: signals must be at least 1, got 0"),
        ({"input_shapes": {"vector": [5]}}, "policy.json: made for inputs {'vector': [5]} and 0 actions; this"),
        ({"format": POLICY_FORMAT - 1}, f"policy format {POLICY_FORMAT - 1}, this version reads {POLICY_FORMAT}"),
    ],
)
def test_what_cannot_be_is_named(folder, changes, message):
    describe(folder, **changes)
    assert refused(folder)[0].startswith(message)


def test_weights_of_another_size_are_listed(folder):
    describe(folder, network=NetworkSettings(hidden=(5,)).model_dump(mode="json"))
    problems = refused(folder)
    assert "policy.safetensors: actor.0.weight has shape (4, 3), policy.json asks for (5, 3)" in problems
    assert len(problems) == 3 + 2 * 3, "weight, bias and the next weight, of the actor and of two critics"


def test_weights_that_are_missing_or_strange_are_listed(folder):
    file = folder / "policy.safetensors"
    arrays = load_file(file)
    save_file({name: array for name, array in arrays.items() if name != "free"} | {"more": arrays["free"]}, file)
    assert refused(folder) == (
        "policy.safetensors: free has shape None, policy.json asks for (2,)",
        "policy.safetensors: more has shape (2,), policy.json asks for None",
    )


@pytest.mark.parametrize("text", ["[1]", "{", "null"])
def test_a_description_that_is_none_is_refused(folder, text):
    (folder / "policy.json").write_text(text)
    (problem,) = refused(folder)
    assert "policy.json" in problem or "not a readable policy folder" in problem


def test_a_truncated_file_of_weights_is_refused(folder):
    file = folder / "policy.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    assert refused(folder)[0].startswith("not a readable policy folder")
