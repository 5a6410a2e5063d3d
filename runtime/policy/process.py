"""What runs inside the policy process: in, the newest frames and the hand's state; out, chunks of targets."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.cameras.process import child_process
from vpp_edge.runtime.control.chunk_player import Chunk
from vpp_edge.runtime.control.contract import Stand
from vpp_edge.runtime.interfaces import Frame
from vpp_edge.runtime.ipc.channels import RUNNING, STAGE_SLOTS, WORKING, Channels, read_stand
from vpp_edge.runtime.ipc.instruction import NEVER, Instruction, read_instruction
from vpp_edge.runtime.ipc.rings import Message
from vpp_edge.runtime.policy.chunk_handover import KEPT, Chunking
from vpp_edge.runtime.policy.frame_sync import Views
from vpp_edge.runtime.policy.inference import Thought, think
from vpp_edge.runtime.policy.rtc_prefix import Guide
from vpp_edge.spec.policy import PolicySpec

SLOW_SHARE = 0.9  # of a chunk's duration: a chunk that comes later than this is hardly worth starting
POLL_S = 0.002
LONGEST_REST_S = 1.0
HOT_INTERVALS = 2  # a policy on a hot machine thinks half as often as before
DELAYS_KEPT = 16  # inferences, of which the slowest counts: 2 s at 8 Hz
GENERATION = 1 << 32  # requests of a restarted policy process count on from here, times its generation


@dataclass(frozen=True)
class PolicySettings:
    """What the policy process loads and how it thinks.

    Attributes:
        bundle: folder; `backend`: engine library, or `scripted`; `provider`: execution provider of ONNX Runtime.
        threads: of the engine; one core must stay for control.
        seed: of the noise; request n draws from (seed, n), so that any recorded inference can be repeated.
        arm: which arm of a two-armed policy the hand is.
        frame_periods_ns: per view, the time between two frames that was asked for; 0: the camera's own.
        grip: joint angles of the open and the closed hand, (J,) each, for policies that give a gripper width.
        chunking: how one chunk follows another, one of `chunking.MODES`.
        control_period_ns: of the loop that takes the chunks.
        around_policy: as in SessionConfig.
    """

    bundle: str
    backend: str
    provider: str | None
    threads: int
    seed: int
    arm: int
    frame_periods_ns: tuple[int, ...]
    grip: tuple[tuple[float, ...], tuple[float, ...]] | None
    chunking: str
    control_period_ns: int
    around_policy: Callable[[Any], Any] | None = None


def load_policy(bundle: str, backend: str, provider: str | None, threads: int) -> Any:
    """An object with the face of EdgePolicy. Imports the engine library: never call it in the control process."""
    if backend == "scripted":
        from vpp_edge.runtime.policy.scripted import ScriptedPolicy, options_from_text

        return ScriptedPolicy(options_from_text(bundle))
    from vpp_edge.runtime.policy.edge_policy import EdgePolicy

    return EdgePolicy.load(bundle, backend=backend, provider=provider, threads=threads)


def run_policy(parent_pid: int, settings: PolicySettings, channels: Channels, generation: int) -> None:
    """Body of the policy process: loads, then thinks without a pause until told to stop."""
    with child_process(parent_pid, channels.policy, channels.policy_note):
        with contextlib.suppress(OSError):
            os.nice(5)  # where cores are short, control and cameras come first
        policy = load_policy(settings.bundle, settings.backend, settings.provider, settings.threads)
        if settings.around_policy is not None:
            policy = settings.around_policy(policy)
        worker = PolicyWorker(policy, settings, channels, generation)
        worker.follow_instruction()
        channels.policy["phase"] = RUNNING
        while not channels.orders["stopping"]:
            worker.step()


def spec_duration_ns(spec: PolicySpec) -> int:
    """How long a chunk lasts."""
    return spec.action.horizon * spec.action.period_ns


@dataclass(frozen=True)
class Observation:
    """V frames, the hand's vector at their time, and where the loop stood when they were chosen."""

    frames: list[Message[Frame]]
    hand: np.ndarray
    stamp_ns: int
    stand: Stand


class PolicyWorker:
    """Turns the newest observation into a chunk, again and again."""

    def __init__(self, policy: Any, settings: PolicySettings, channels: Channels, generation: int) -> None:
        self._policy, self._settings, self._channels = policy, settings, channels
        self._request = self._sent = generation * GENERATION - 1
        self._slow = False
        self._begun_ns = self._interval_ns = 0  # of the last inference, and from the one before to it
        self._chunking = Chunking(settings.chunking, policy.spec.action.period_ns)
        self._actions: dict[int, np.ndarray] = {}  # by request, of the chunks that may be the next one's plan
        self._delays_ns: deque[int] = deque(maxlen=DELAYS_KEPT)
        self._instruction = Instruction("", NEVER)  # until there is one
        self._views = Views(channels, settings.frame_periods_ns)
        self._grip = None if settings.grip is None else (np.array(settings.grip[0]), np.array(settings.grip[1]))

    def step(self) -> None:
        """One inference when there is a fresh observation, else a short sleep."""
        board = self._channels.policy
        board["heartbeat_ns"] = time.monotonic_ns()
        observation = self._observe()
        if observation is None:
            time.sleep(POLL_S)
            return
        board["phase"] = WORKING
        self._request += 1
        begun_ns = time.monotonic_ns()
        if not self._channels.orders["hot"]:
            self._interval_ns, self._begun_ns = begun_ns - self._begun_ns, begun_ns
        self._infer(observation)
        board.add("inferences")
        board["phase"] = RUNNING
        if self._channels.orders["hot"]:
            spent_ns = time.monotonic_ns() - begun_ns
            time.sleep(min(LONGEST_REST_S, max(0, HOT_INTERVALS * self._interval_ns - spent_ns) / 1e9))

    def follow_instruction(self) -> None:
        """Takes the newest instruction; the next observation is made for it."""
        newest = read_instruction(self._channels.instruction)
        if newest is None or newest == self._instruction:
            return
        if newest.text != self._instruction.text:
            self._policy.instruct(newest.text)
        self._instruction = newest

    def _observe(self) -> Observation | None:
        """The views of one moment, with the hand's state of that moment, if there is anything new to think about."""
        frames = self._views.look()
        if frames is None:
            return None
        stamp_ns = min(message.stamp_ns for message in frames)
        stand = self._stand_to_observe(stamp_ns)
        if stand is None:
            return None
        state = self._channels.states.read_at(stamp_ns, lambda record: record["vector"].copy())
        if state is None:
            return None
        self._views.taken(frames)
        return Observation(frames, state.value, stamp_ns, stand)

    def _stand_to_observe(self, stamp_ns: int) -> Stand | None:
        """Where the loop stands, or None when frames of `stamp_ns` should not be used.

        A policy that takes longer than its chunks last would always answer when all actions have passed. It looks only
        once the hand has come to rest, so that its chunk still fits when it comes: stop and go.
        """
        stand = read_stand(self._channels.states)
        if stand is None:
            return None
        self.follow_instruction()  # after the episode was read: one of an earlier episode is refused with its chunk
        if stand.episode < self._instruction.episode or stamp_ns < self._instruction.since_ns:
            return None
        stop_and_go = self._slow or not self._chunking.may_observe(stand, stamp_ns)
        if stop_and_go and (stand.request < self._sent or stamp_ns < stand.resting_since_ns):
            return None
        return stand

    def _infer(self, observation: Observation) -> None:
        settings, images = self._settings, [message.value.image for message in observation.frames]
        started_ns = time.monotonic_ns()
        noise = (settings.seed, self._request)
        guide = self._guide(observation)
        thought = think(self._policy, images, observation.hand, noise, settings.arm, self._grip, guide)
        self._send(observation, thought, started_ns)

    def _guide(self, observation: Observation) -> Guide | None:
        """What the next chunk has to continue. How late it will come is what the slowest of the last ones came to."""
        plan = self._chunking.plan(observation.stand)
        actions = None if plan is None else self._actions.get(plan.request)
        if plan is None or actions is None:
            return None
        delay_ns = max(self._delays_ns) + self._settings.control_period_ns
        return Guide(plan, actions, observation.stamp_ns, delay_ns)

    def _remember(self, chunk: Chunk, thought: Thought, finished_ns: int) -> None:
        self._delays_ns.append(finished_ns - chunk.observed_ns)
        self._actions[chunk.request] = thought.actions
        while len(self._actions) > KEPT:
            del self._actions[min(self._actions)]

    def _send(self, observation: Observation, thought: Thought, started_ns: int) -> None:
        stamp_ns, episode = observation.stamp_ns, observation.stand.episode
        record = self._channels.chunks.begin()
        if record is None:
            return
        proposed = Chunk(thought.targets, observation.hand, stamp_ns, self._request, episode)
        targets = self._chunking.next_chunk(proposed, observation.stand).targets
        self._remember(proposed, thought, time.monotonic_ns())
        if targets.shape != record["targets"].shape:
            raise BadInputError(f"targets have shape {targets.shape}, expected {record['targets'].shape}")
        record["targets"], record["anchor"] = targets, observation.hand
        record["observed_ns"], record["episode"] = stamp_ns, episode
        record["request"] = self._request
        record["frame_numbers"] = [message.value.number for message in observation.frames]
        record["frame_stamps_ns"] = [message.stamp_ns for message in observation.frames]
        finished_ns = time.monotonic_ns()
        record["started_ns"], record["finished_ns"] = started_ns, finished_ns
        named = [*list(thought.stages_ns.items())[: STAGE_SLOTS - 1], ("total", finished_ns - started_ns)]
        record["stages_ns"], record["stage_names"] = 0, b""
        for i, (name, duration_ns) in enumerate(named):
            record["stages_ns"][i], record["stage_names"][i] = duration_ns, name.encode()[:16]
        self._channels.chunks.commit()
        self._sent = self._request
        self._slow = finished_ns - stamp_ns > SLOW_SHARE * spec_duration_ns(self._policy.spec)
