"""A live run goes from one episode to the next: the hand comes home, the world changes, and nothing is mixed up."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from camera_under_test import PatternConfig

from vpp_edge.runtime.hands.sim import SimHand
from vpp_edge.runtime.instructions import NEVER, read_instruction
from vpp_edge.runtime.session import SessionConfig, run_session
from vpp_edge.runtime.sim import sequence
from vpp_edge.runtime.sim.sequence import EpisodeSequence
from vpp_edge.runtime.sim.task import episode_from_seed
from vpp_edge.runtime.supervisor import Watch

if importlib.util.find_spec("mujoco") is None:
    pytest.skip("the simulated hand needs MuJoCo", allow_module_level=True)


def test_three_episodes_in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted policy presses nothing, so that every episode ends with its time."""
    monkeypatch.setattr(sequence, "LINGER_S", 0.1)
    episodes = [episode_from_seed(seed) for seed in (1, 2, 3)]
    begun: list[tuple[int, np.ndarray]] = []
    with SimHand(episode=episodes[0]) as hand:
        course = EpisodeSequence(episodes, hand, time_limit_s=1.0)

        def look(loop, channels) -> None:
            course.look(loop, channels)
            instruction = read_instruction(channels.instruction)
            if instruction.episode != NEVER and (not begun or begun[-1][0] != instruction.episode):
                begun.append((instruction.episode, hand.world.vector()))

        cameras = (PatternConfig("static"), PatternConfig("wrist"))
        config = SessionConfig("latency_ms=20", cameras, hand, episodes[0].instruction, 30, backend="scripted")
        report = run_session(config, Watch(20 * 10**9, on_look=look))
    assert report.ended == "all episodes played: hand held" and report.exit_status == 0
    assert [result.episode.seed for result in course.results] == [1, 2, 3]
    assert {result.verdict for result in course.results} == {"out of time"}
    assert all(1.0 <= result.seconds < 1.02 for result in course.results)
    for episode, (_, pose) in zip(episodes, begun, strict=True):
        np.testing.assert_allclose(pose[:3], episode.start[:3], atol=0.005)
    assert course.caption.endswith("out of time")
