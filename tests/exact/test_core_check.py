"""The checks that users run are exact tests: here they have to pass, and they can fail."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from interlock.core.tabular import dynamics
from interlock.scenarios import core_check
from interlock.scenarios.core_check import CHECKS
from interlock.scenarios.core_check_table import Check, run_checks


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_check_passes(check: Callable[[], Check]) -> None:
    found = check()
    assert found.passed, found
    assert math.isfinite(found.deviation)


def test_a_deviation_on_the_wrong_side_fails() -> None:
    check = Check("method", "numbers", 0.1, 0.2)
    assert check.passed
    assert not replace(check, deviation=0.3).passed
    assert not replace(check, at_least=True).passed
    assert replace(check, deviation=0.3, at_least=True).passed
    assert not replace(check, deviation=math.nan).passed
    assert not replace(check, deviation=math.inf, at_least=True).passed


def test_a_check_that_breaks_is_told_and_the_others_still_run() -> None:
    def broken() -> Check:
        raise ZeroDivisionError("a reason")

    done: list[int] = []
    found = run_checks((broken, core_check.penalised_critic), done.append)
    assert [one.passed for one in found] == [False, True]
    assert found[0].computed == "ZeroDivisionError: a reason"
    assert found[0].described()["deviation"] is None
    assert done == [1, 2]


def test_a_wrong_method_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Multipliers that forget to extrapolate are no longer optimistic, a critic that stops early is no critic."""
    right_dual, right_critic = dynamics.gradient_dual, dynamics.expected_td
    monkeypatch.setattr(dynamics, "gradient_dual", lambda step, optimistic=False: right_dual(0.0))
    assert not core_check.optimistic_multipliers().passed
    monkeypatch.setattr(dynamics, "expected_td", lambda *given: right_critic(*given, tolerance=0.01))
    assert not core_check.penalised_critic().passed
