"""Scenario files: what is wrong with numbers is told, and ours are right."""

import pytest

from interlock.core.errors import BadInput
from interlock.domains.fisheries import DOMAIN
from interlock.scenarios.loading import load_scenario, scenario_names

WRONG = {
    "model.k=0": "model.k: got 0, expected a value greater than 0",
    "model.r=-1": "model.r: got -1, expected a value greater than 0",
    "model.sigma=-0.1": "model.sigma: got -0.1",
    "model.c=0": "c: 0 while beta is 0.23",
    "collapse_level=0.7": "would end at once",
    "harvested=[xx]": "did you mean x?",
    "observed.hidden=[x]": "x is harvested",
    "initial=[0.5, 0.5]": "2 numbers for 1 species",
    "drift=[{parameter: r, per_year: -0.01}]": "r is 0 in year 100, expected above 0",
    "drift=[{parameter: rr, per_year: 0}]": "did you mean r?",
    "prices=[1, 2]": "2 numbers for 1 harvested species",
    "prices=[-1]": "prices.0: got -1, expected a value greater than or equal to 0",
    "effort_costs=[-0.5]": "effort_costs.0: got -0.5, expected a value greater than or equal to 0",
    "tonnes=[0]": "tonnes.0: got 0, expected a value greater than 0",
}


@pytest.mark.parametrize("setting", WRONG)
def test_wrong_numbers_are_told(setting):
    settings = [setting, "baselines=[no_harvest]"]
    with pytest.raises(BadInput) as caught:
        load_scenario(DOMAIN, "may_safe", settings)
    assert WRONG[setting] in str(caught.value)


def test_several_wrong_numbers_are_told_at_once():
    with pytest.raises(BadInput) as caught:
        load_scenario(DOMAIN, "may_safe", ["model.k=0", "model.r=0", "horizon=0"])
    assert len(caught.value.problems) == 3


def test_the_optimum_is_refused_where_nobody_knows_it():
    with pytest.raises(BadInput, match="optimum needs species that are seen"):
        load_scenario(DOMAIN, "web-uncertain", ["baselines=[optimum]"])
    with pytest.raises(BadInput, match=r"optimum does not exist: the initial stock 2\.15 of x .* is above 2\.2"):
        load_scenario(DOMAIN, "may-safe", ["initial=[2.15]"])
    with pytest.raises(BadInput, match=r"optimum_stationary does not exist: the initial stock 2\.6 of z"):
        load_scenario(DOMAIN, "web-drift", ["initial=[0.5, 0.5, 2.6]"])


CROWDED = {
    "model.c_xy=1.2": "c_xy is 1.2 in year 0: x takes 1.2 off the capacity of y, 1 ",
    "model.k_y=20": "y takes 2 off the capacity of x, 1 ",
    "model.k_x=0.05": "y takes 0.1 off the capacity of x, 0.05 ",
}


@pytest.mark.parametrize("setting", CROWDED)
def test_competitors_leave_each_other_some_capacity(setting):
    with pytest.raises(BadInput) as caught:
        load_scenario(DOMAIN, "web-capacity", [setting])
    assert CROWDED[setting] in str(caught.value)
    assert load_scenario(DOMAIN, "web-capacity", [setting, "model.competition=product"])


def test_competitors_leave_each_other_some_capacity_in_every_year():
    drift = "drift=[{{parameter: c_xy, per_year: 0.1, at_most: {}}}]"
    assert load_scenario(DOMAIN, "web-capacity", [drift.format(9.9)])
    with pytest.raises(BadInput, match="c_xy is 1 in year 90"):
        load_scenario(DOMAIN, "web-capacity", [drift.format(10)])


@pytest.mark.parametrize("name", scenario_names(DOMAIN))
def test_scenarios_hold_parameters_that_were_found_for_them(name):
    scenario = load_scenario(DOMAIN, name)
    assert scenario.title
    assert scenario.tuned is not None
    assert scenario.tuned.numbers == scenario.numbers()


def test_a_policy_may_play_other_numbers_but_not_other_eyes():
    safe, noisy = (load_scenario(DOMAIN, name).signature() for name in ("may-safe", "may-noisy"))
    assert safe == noisy
    seen, hidden = (load_scenario(DOMAIN, name).signature() for name in ("web-drift", "web-hidden-predator"))
    assert seen != hidden
