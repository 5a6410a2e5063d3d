"""The body of the policy process: the newest frames and the hand's state in, chunks of targets out."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from vpp_edge.errors import HardwareFaultError
from vpp_edge.runtime.interfaces import Chunk, Frame, Grip, Policy, PolicyWrapper
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.child_body import child_body
from vpp_edge.runtime.ipc.codecs import fill_chunk, read_loop_state, read_pose_at, write_note
from vpp_edge.runtime.ipc.instruction import NEVER, Instruction, read_instruction
from vpp_edge.runtime.ipc.loop_state import LoopState, Phase
from vpp_edge.runtime.ipc.rings.newest import Message
from vpp_edge.runtime.policy.chunk_handover import KEPT, ChunkHandover
from vpp_edge.runtime.policy.delay import DelayEstimate
from vpp_edge.runtime.policy.frame_sync import FrameSync
from vpp_edge.runtime.policy.inference import InferredTargets, infer_targets
from vpp_edge.runtime.policy.rtc_prefix import PreviousChunk
from vpp_edge.spec.instruction import truncation_told_to

SLOW_SHARE = 0.9  # of a chunk's duration: a chunk that arrives later than this is hardly worth starting
POLL_S = 0.002
HOT_INTERVALS = 2  # on a hot machine the policy runs half as often as before
GENERATION = 1 << 32  # a restarted policy process numbers its requests from its generation times this


@dataclass(frozen=True)
class PolicySettings:
    """What the policy process loads and how it runs.

    Attributes:
        bundle: folder.
        backend: engine library, or `scripted`.
        provider: execution provider of ONNX Runtime.
        threads: of the engine; one core must stay for control.
        seed: of the noise; request n draws from (seed, n), so that any recorded inference can be repeated.
        arm: which arm of a two-armed policy the hand is.
        frame_periods_ns: per view, the requested time between two frames; 0: the camera's own.
        grip: joint angles of the open and the closed hand, (J,) each, for policies that command a gripper width.
        chunking: how one chunk hands over to the next, one of `handover_modes.MODES`.
        control_period_ns: of the loop that takes the chunks.
        wrap_policy: as in SessionConfig.
    """

    bundle: str
    backend: str
    provider: str | None
    threads: int
    seed: int
    arm: int
    frame_periods_ns: tuple[int, ...]
    grip: Grip | None
    chunking: str
    control_period_ns: int
    wrap_policy: PolicyWrapper | None = None


def load_policy(bundle: str, backend: str, provider: str | None, threads: int) -> Policy:
    """Loads a policy. Imports the engine library: never call it in the control process."""
    if backend == "scripted":
        from vpp_edge.runtime.policy.scripted import ScriptedPolicy, options_from_text

        return ScriptedPolicy(options_from_text(bundle))
    from vpp_edge.runtime.policy.edge_policy import EdgePolicy

    return EdgePolicy.load(bundle, backend=backend, provider=provider, threads=threads)


@contextlib.contextmanager
def opened_policy(settings: PolicySettings) -> Iterator[Policy]:
    """Loads the policy of the settings, and closes it in the end."""
    policy = load_policy(settings.bundle, settings.backend, settings.provider, settings.threads)
    try:
        if settings.wrap_policy is not None:
            policy = settings.wrap_policy(policy)
        yield policy
    except BaseException:
        with contextlib.suppress(HardwareFaultError):  # the first error says more
            policy.close()
        raise
    policy.close()


def run_policy(parent_pid: int, settings: PolicySettings, channels: Channels, generation: int) -> None:
    """Body of the policy process: loads the policy, then infers without a pause until told to stop."""
    with child_body(parent_pid, channels.policy, channels.policy_note):
        with contextlib.suppress(OSError):
            os.nice(5)  # where cores are short, control and cameras come first
        with opened_policy(settings) as policy, truncation_told_to(partial(write_note, channels.instruction_note)):
            worker = PolicyWorker(policy, settings, channels, generation)
            worker.follow_instruction()
            channels.policy["phase"] = Phase.RUNNING
            while not channels.orders["stopping"]:
                worker.step()


@dataclass(frozen=True)
class Observation:
    """What one inference is made from.

    Attributes:
        frames: V synchronized frames.
        hand: (7 + J,) pose at their time.
        stamp_ns: time of the oldest frame.
        loop_state: of the control loop when the frames were chosen.
    """

    frames: list[Message[Frame]]
    hand: np.ndarray
    stamp_ns: int
    loop_state: LoopState


class PolicyWorker:
    """Turns the newest observation into a chunk, again and again."""

    def __init__(self, policy: Policy, settings: PolicySettings, channels: Channels, generation: int) -> None:
        self._policy, self._settings, self._channels = policy, settings, channels
        self._request = self._sent = generation * GENERATION - 1
        self._slow = False
        self._begun_ns = self._interval_ns = 0  # start of the last inference, and time from the one before to it
        self._rest_until_ns = 0  # on a hot machine
        self._handover = ChunkHandover(settings.chunking, policy.spec.action.period_ns)
        self._actions: dict[int, np.ndarray] = {}  # by request, of the chunks that the next one may have to continue
        self._delay = DelayEstimate()
        self._instruction = Instruction("", NEVER)  # until there is one
        self._sync = FrameSync(channels, settings.frame_periods_ns)

    def step(self) -> None:
        """One inference when there is a fresh observation, else a short sleep."""
        board, orders = self._channels.policy, self._channels.orders
        board["heartbeat_ns"] = time.monotonic_ns()
        if orders["hot"] and time.monotonic_ns() < self._rest_until_ns:
            time.sleep(POLL_S)
            return
        loop_state = read_loop_state(self._channels.states)
        # After the loop's state was read: an instruction of a later episode is never followed for an earlier one.
        self.follow_instruction()
        observation = None if loop_state is None else self._observation(loop_state)
        if observation is None:
            time.sleep(POLL_S)
            return
        board["phase"] = Phase.WORKING
        self._sync.mark_used(observation.frames)
        self._request += 1
        begun_ns = time.monotonic_ns()
        if not orders["hot"]:
            self._interval_ns, self._begun_ns = begun_ns - self._begun_ns, begun_ns
        self._infer(observation)
        board.add("inferences")
        board["phase"] = Phase.RUNNING
        # After an outage the last interval says little; no regular one is longer than an inference and its chunk.
        longest_ns = time.monotonic_ns() - begun_ns + self._policy.spec.action.chunk_ns
        self._rest_until_ns = begun_ns + HOT_INTERVALS * min(self._interval_ns or longest_ns, longest_ns)

    def follow_instruction(self) -> None:
        """Gives the policy the newest instruction, if there is a new one; the next observation is made for it."""
        newest = read_instruction(self._channels.instruction)
        if newest is None or newest == self._instruction:
            return
        if newest.text != self._instruction.text:
            self._policy.instruct(newest.text)
        self._instruction = newest

    def _observation(self, loop_state: LoopState) -> Observation | None:
        """Synchronized frames with the hand's pose at their time, if there are new ones that may be used."""
        frames = self._sync.latest()
        if frames is None:
            return None
        stamp_ns = min(message.stamp_ns for message in frames)
        if not self._may_use(loop_state, stamp_ns):
            return None
        hand = read_pose_at(self._channels.states, stamp_ns)
        return None if hand is None else Observation(frames, hand, stamp_ns, loop_state)

    def _may_use(self, loop_state: LoopState, stamp_ns: int) -> bool:
        """Whether an inference may be made from frames of `stamp_ns`.

        A policy that takes longer than its chunks last would always answer when all actions have passed. It observes
        only once the hand has come to rest, so that its chunk still fits when it arrives: stop and go.
        """
        if loop_state.episode < self._instruction.episode or stamp_ns < self._instruction.since_ns:
            return False
        if self._slow or not self._handover.may_observe(loop_state, stamp_ns):
            return loop_state.request >= self._sent and loop_state.rests_since(stamp_ns)
        return True

    def _infer(self, observation: Observation) -> None:
        """One inference, sent to the control loop."""
        settings, started_ns = self._settings, time.monotonic_ns()
        inferred = infer_targets(
            self._policy,
            images=[message.value.image for message in observation.frames],
            hand=observation.hand,
            noise=(settings.seed, self._request),
            arm=settings.arm,
            grip=settings.grip,
            previous=self._previous_chunk(observation),
        )
        self._send(observation, inferred, started_ns)

    def _previous_chunk(self, observation: Observation) -> PreviousChunk | None:
        """What the next chunk has to continue, and how late it may come."""
        chunk = self._handover.chunk_to_continue(observation.loop_state)
        actions = None if chunk is None else self._actions.get(chunk.request)
        if chunk is None or actions is None:
            return None
        delay_ns = self._delay.bound_ns + self._settings.control_period_ns
        return PreviousChunk(chunk=chunk, actions=actions, observed_ns=observation.stamp_ns, delay_ns=delay_ns)

    def _send(self, observation: Observation, inferred: InferredTargets, started_ns: int) -> None:
        """Publishes the chunk, and remembers what the next one needs to know about it."""
        record = self._channels.chunks.begin()
        if record is None:  # the ring is full, which it counts: the loop has stalled
            return
        chunk = Chunk(
            targets=inferred.targets,
            anchor=observation.hand,
            observed_ns=observation.stamp_ns,
            request=self._request,
            episode=observation.loop_state.episode,
        )
        played = self._handover.chunk_to_play(chunk, observation.loop_state)
        finished_ns = time.monotonic_ns()
        fill_chunk(
            record,
            played,
            frames=observation.frames,
            stages_ns=inferred.stages_ns,
            started_ns=started_ns,
            finished_ns=finished_ns,
        )
        self._channels.chunks.commit()
        self._sent = self._request
        self._slow = finished_ns - observation.stamp_ns > SLOW_SHARE * self._policy.spec.action.chunk_ns
        self._delay.add(finished_ns - observation.stamp_ns)
        self._remember_actions(inferred.actions)

    def _remember_actions(self, actions: np.ndarray) -> None:
        self._actions[self._request] = actions
        while len(self._actions) > KEPT:
            del self._actions[min(self._actions)]
