"""A live run goes from one episode to the next: the hand returns, the world changes, and nothing is mixed up."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field

import numpy as np
import pytest
from camera_under_test import PatternConfig

from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.instruction import NEVER, read_instruction
from vpp_edge.runtime.session.config import SessionConfig
from vpp_edge.runtime.session.hooks import RunHooks
from vpp_edge.runtime.session.run import run_session
from vpp_edge.runtime.sim import sequence
from vpp_edge.runtime.sim.expert import expert_targets
from vpp_edge.runtime.sim.hand import SimHand
from vpp_edge.runtime.sim.layout import COLOURS
from vpp_edge.runtime.sim.sequence import LIFT_M, EpisodeSequence
from vpp_edge.runtime.sim.task import Episode, episode_from_seed
from vpp_edge.runtime.sim.world import SCENE_SIZE

pytestmark = pytest.mark.live

if importlib.util.find_spec("mujoco") is None:
    pytest.skip("the simulated hand needs MuJoCo", allow_module_level=True)


def test_three_episodes_in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted policy presses nothing, so that every episode runs out of time."""
    monkeypatch.setattr(sequence, "LINGER_S", 0.1)
    episodes = [episode_from_seed(seed) for seed in (1, 2, 3)]
    begun: list[tuple[int, np.ndarray]] = []
    with SimHand(episode=episodes[0]) as hand:
        course = EpisodeSequence(episodes, hand, time_limit_s=1.0)

        def advance(loop, channels) -> None:
            course.advance(loop, channels)
            instruction = read_instruction(channels.instruction)
            if instruction.episode != NEVER and (not begun or begun[-1][0] != instruction.episode):
                begun.append((instruction.episode, hand.world.vector()))

        cameras = (PatternConfig("static"), PatternConfig("wrist"))
        config = SessionConfig(
            bundle="latency_ms=20",
            cameras=cameras,
            hand=hand,
            instruction=episodes[0].instruction,
            duration_s=30,
            backend="scripted",
        )
        report = run_session(config, RunHooks(on_poll=advance))
    assert report.ended == "all episodes played: hand held" and report.exit_status == 0
    assert [result.episode.seed for result in course.results] == [1, 2, 3]
    assert {result.verdict for result in course.results} == {"out of time"}
    assert all(1.0 <= result.seconds < 1.02 for result in course.results)
    for episode, (_, pose) in zip(episodes, begun, strict=True):
        np.testing.assert_allclose(pose[:3], episode.start[:3], atol=0.005)
    assert course.caption.endswith("out of time")


@pytest.fixture
def channels():
    channels = Channels.create(("static",), 4, 19, SCENE_SIZE)
    yield channels
    channels.close()


class LiveExpert:
    """Sends the chunks of the expert in place of a policy."""

    def __init__(self, episodes: list[Episode], course: EpisodeSequence) -> None:
        self._episodes, self._course, self._sent = {e.instruction: e for e in episodes}, course, 0

    def advance(self, loop, channels: Channels) -> None:
        self._course.advance(loop, channels)
        instruction = read_instruction(channels.instruction)
        message = channels.states.read(lambda record: (record["vector"].copy(), int(record["episode"])))
        if message is None or message.value[1] < instruction.episode:
            return
        record = channels.chunks.begin()
        if record is None:
            return
        record["targets"] = expert_targets(self._episodes[instruction.text], message.value[0], 8)
        record["anchor"], record["episode"] = message.value
        record["observed_ns"], record["request"] = message.stamp_ns, self._sent
        channels.chunks.commit()
        self._sent += 1


@pytest.mark.slow
def test_the_expert_presses_the_requested_button_in_every_episode_of_a_live_run() -> None:
    episodes = [episode_from_seed(seed) for seed in (1, 2, 3, 5)]
    assert len({episode.instruction for episode in episodes}) == len(episodes)
    with SimHand(episode=episodes[0]) as hand:
        course = EpisodeSequence(episodes, hand)
        blind = (PatternConfig("static", stop_after=0), PatternConfig("wrist", stop_after=0))
        config = SessionConfig(
            bundle="latency_ms=20",
            cameras=blind,
            hand=hand,
            instruction=episodes[0].instruction,
            duration_s=40,
            backend="scripted",
        )
        report = run_session(config, RunHooks(on_poll=LiveExpert(episodes, course).advance))
    assert report.ended == "all episodes played: hand held"
    assert [result.verdict for result in course.results] == ["success"] * len(episodes)
    assert [result.pressed for result in course.results] == [(episode.colour,) for episode in episodes]
    assert all(1 < result.seconds < 6 for result in course.results)


@dataclass
class Asked:
    """Records the requests to the loop."""

    interrupts: list[np.ndarray | None] = field(default_factory=list)
    stopped: str = ""

    def interrupt(self, rest_at: np.ndarray | None = None) -> int:
        self.interrupts.append(rest_at)
        return 1 + len(self.interrupts)

    def request_stop(self, reason: str) -> None:
        self.stopped = reason


class Publisher:
    """Publishes one state per 10 ms, like the loop."""

    def __init__(self, channels: Channels) -> None:
        self.states, self.now_ns = channels.states, 0

    def __call__(self, vector: np.ndarray, seed: int, *depths: float, request: int = 0, episode: int = 1) -> None:
        self.now_ns += 10_000_000
        self.states.write(
            self.now_ns,
            vector=vector,
            command=vector,
            scene=np.array((seed, *(depths or (0,) * 4), 0, 0, 0)),
            episode=episode,
            request=request,
            resting_since_ns=0,
            playing=-1,
            playing_from_ns=0,
        )


def test_a_short_press_between_two_polls_counts_and_time_starts_with_the_first_chunk(channels: Channels) -> None:
    episode, loop, publish = episode_from_seed(4), Asked(), Publisher(channels)
    down = tuple(0.006 * (colour == episode.colour) for colour in COLOURS)
    results = []
    course = EpisodeSequence([episode], SimHand(episode=episode), results.append)
    for _ in range(100):
        publish(episode.start, 4, request=-1)  # the policy is still loading
    for depths in ((), (), down, (), ()):
        publish(episode.start, 4, *depths)
    course.advance(loop, channels)
    assert results == course.results and results[0].verdict == "success" and results[0].seconds == pytest.approx(0.02)
    assert course.caption == f"{episode.instruction}: success" and not loop.stopped
    for _ in range(85):
        publish(episode.start, 4)
    course.advance(loop, channels)
    assert loop.stopped == "all episodes played" and not loop.interrupts


def test_the_next_episode_waits_for_hand_and_world(channels: Channels) -> None:
    first, second = episode_from_seed(4), episode_from_seed(5)
    loop, publish = Asked(), Publisher(channels)
    course = EpisodeSequence([first, second], SimHand(episode=first), time_limit_s=0.05)

    def look(vector: np.ndarray, seed: int, **more: int) -> int:
        publish(vector, seed, **more)
        course.advance(loop, channels)
        instruction = read_instruction(channels.instruction)
        return 0 if instruction is None else instruction.episode

    pressing = first.start + np.array((0.2, 0, -0.1, *(0.0,) * 16))
    for _ in range(95):
        number = look(pressing, 4)
    assert number == NEVER and len(loop.interrupts) == 1, "over and waiting: the policy thinks of nothing"
    lifted = loop.interrupts[0]
    np.testing.assert_allclose(lifted - pressing, LIFT_M * (np.arange(19) == 2), atol=1e-12)
    assert look(lifted, 4) == NEVER
    np.testing.assert_array_equal(loop.interrupts[1], second.start)
    assert look((lifted + second.start) / 2, 4) == NEVER and len(loop.interrupts) == 2
    home = second.start * np.where((np.arange(19) >= 3) & (np.arange(19) < 7), -1, 1)  # the same rotation
    assert look(home, 4) == NEVER and look(home, 4) == NEVER, "the world has not changed yet"
    assert look(home, 5) == 4 and loop.interrupts[2] is None
    for _ in range(20):
        look(home, 5, episode=3, request=5)
    assert len(course.results) == 1, "its time begins with a chunk of its own"
