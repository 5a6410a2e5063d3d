"""Commands of the limiter keep every limit; a command that breaks one is found, with the name of the limit."""

from __future__ import annotations

import numpy as np
import pytest
from hands_under_test import HOME, LIMITS

from vpp_edge.runtime.chaos.limit_usage import largest_limit_usage
from vpp_edge.runtime.control.limits import Limiter

PERIOD_NS = 10_000_000


def limited(seed: int) -> np.ndarray:
    """Commands of a limiter whose targets are out of reach."""
    random, limiter = np.random.default_rng(seed), Limiter(LIMITS, PERIOD_NS)
    limiter.reset(HOME)
    commands = [limiter.command.copy()]
    for _ in range(40):
        target = HOME + random.normal(0, 1, 10)
        commands += [limiter.step(target).copy() for _ in range(10)]
    return np.array(commands)


@pytest.mark.parametrize("seed", range(3))
def test_limited_commands_use_the_limits_fully_and_break_none(seed: int) -> None:
    share, _ = largest_limit_usage(limited(seed), PERIOD_NS, LIMITS)
    assert 0.99 < share <= 1.0001


@pytest.mark.parametrize(
    ("index", "by", "name"),
    [(8, 0.2, "joint jerk"), (0, 0.2, "wrist jerk"), (5, 0.2, "wrist turn jerk"), (7, -3.0, "joint jerk")],
)
def test_a_jump_is_found(index: int, by: float, name: str) -> None:
    commands = np.tile(HOME, (50, 1))
    commands[30, index] += by
    commands[:, 3:7] /= np.linalg.norm(commands[:, 3:7], axis=1, keepdims=True)
    share, worst = largest_limit_usage(commands, PERIOD_NS, LIMITS)
    assert share > 2 and worst == name


@pytest.mark.parametrize(("index", "value", "name"), [(9, 1.6, "joint position"), (2, -0.02, "wrist position")])
def test_a_position_outside_is_found_even_if_reached_slowly(index: int, value: float, name: str) -> None:
    commands = np.tile(HOME, (20_000, 1))
    commands[:, index] = HOME[index] + (value - HOME[index]) * (0.5 - 0.5 * np.cos(np.linspace(0, np.pi, 20_000)))
    share, worst = largest_limit_usage(commands, PERIOD_NS, LIMITS)
    assert worst == name and share == pytest.approx(1 + min(abs(value - 1.5), abs(value)), abs=1e-6)
