"""What still fits on a map, against the masks of all boxes of the set; and that judging by it pays."""

import numpy as np
import pytest

from interlock.core.evaluation.protocol import play
from interlock.domains.bin_packing.model import mask_batch
from interlock.domains.bin_packing.one_step import accepted, one_step
from interlock.domains.bin_packing.problem import build
from interlock.domains.bin_packing.scenario import BinPackingScenario


@pytest.mark.parametrize("orientations", [1, 2, 6])
def test_what_still_fits_is_what_some_mask_allows(orientations: int) -> None:
    rng, thresholds = np.random.default_rng(orientations), (5_000, 8_500, 9_500)
    types = np.stack(np.meshgrid(*[range(2, 6)] * 3, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.int16)
    volumes = types.astype(int).prod(axis=1)
    for _ in range(40):
        top = np.repeat(np.repeat(rng.integers(3, 11, (4, 5)), 2, axis=0), 2, axis=1).astype(np.int16)
        fits = mask_batch(np.repeat(top[None], 64, axis=0), types, orientations, 10, thresholds).any(axis=1)
        found = accepted(top, 2, 5, orientations, 10, thresholds, np.empty_like(top), np.empty((4, 4), np.int64))
        assert found == pytest.approx((fits.mean(), volumes[fits].sum() / volumes.sum()))


def test_judging_by_what_still_fits_packs_more_than_the_linear_rule() -> None:
    scenario = BinPackingScenario.model_validate({"name": "case", "stream": "rs"})
    problem = build(scenario)
    rule = play(problem, problem.baselines()["linear12"](0), split="validation", count=500).objective
    judged = play(problem, one_step(scenario), split="validation", count=500).objective
    assert (judged - rule).mean() > 0
