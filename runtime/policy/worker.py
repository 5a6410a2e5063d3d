"""The work of the policy process, step by step: the newest frames and the hand's state in, chunks of targets out."""

from __future__ import annotations

import time
from functools import partial

import numpy as np

from vpp_edge.runtime.interfaces import Chunk, Policy
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.codecs import fill_chunk, read_loop_state, read_pose_at, read_state
from vpp_edge.runtime.ipc.instruction import NEVER, Instruction, read_instruction
from vpp_edge.runtime.ipc.loop_state import LoopState, Phase
from vpp_edge.runtime.policy.act_schedule import ActSchedule
from vpp_edge.runtime.policy.chunk_handover import KEPT, ChunkHandover
from vpp_edge.runtime.policy.delay import DelayEstimate
from vpp_edge.runtime.policy.frame_sync import FrameSync
from vpp_edge.runtime.policy.inference import Look, look_at, targets_from_look
from vpp_edge.runtime.policy.looker import Looker, Observation
from vpp_edge.runtime.policy.rtc_prefix import PreviousChunk
from vpp_edge.runtime.policy.settings import PolicySettings

SLOW_SHARE = 0.9  # of a chunk's duration: a chunk that arrives later than this is hardly worth starting
POLL_S = 0.002
HOT_INTERVALS = 2  # on a hot machine the policy runs half as often as before
GENERATION = 1 << 32  # a restarted policy process numbers its looks from its generation times this


class PolicyWorker:
    """Turns the newest observation into one chunk or several, again and again.

    With several acts per look, the next look is perceived in a thread of its own. Nothing else runs there. What goes
    wrong in it is raised here, and ends the process like any other failure of the engine.
    """

    def __init__(self, policy: Policy, settings: PolicySettings, channels: Channels, generation: int) -> None:
        self._policy, self._settings, self._channels = policy, settings, channels
        self._looks = generation * GENERATION - 1
        self._sent = self._looks * settings.acts_per_look
        self._slow = False
        self._begun_ns = self._interval_ns = 0  # start of the last look, and time from the one before to it
        self._rest_until_ns = 0  # on a hot machine
        self._handover = ChunkHandover(settings.chunking, policy.spec.action.period_ns)
        self._actions: dict[int, np.ndarray] = {}  # by request, of the chunks that the next one may have to continue
        self._delay = DelayEstimate()
        self._instruction = Instruction("", NEVER)  # until there is one
        self._sync = FrameSync(channels, settings.frame_periods_ns)
        self._looker = Looker(beside=settings.acts_per_look > 1)
        self._schedule = ActSchedule(settings.acts_per_look)
        self._seen: tuple[Observation, Look] | None = None  # what it acts on

    def close(self) -> None:
        """Waits for the look that is under way."""
        self._looker.close()

    def step(self) -> None:
        """Whatever is due of the next look and the next act, else a short sleep."""
        if not self._looker.busy:  # a look that hangs must be noticed whatever else goes on
            self._channels.policy["heartbeat_ns"] = time.monotonic_ns()
            self._begin_look()
        self._take_look()
        acted = self._act()
        self._channels.policy["phase"] = Phase.WORKING if self._looker.busy else Phase.RUNNING
        if not acted:
            time.sleep(POLL_S)

    def follow_instruction(self) -> None:
        """Gives the policy the newest instruction, if there is a new one; the next observation is made for it."""
        newest = self._new_instruction()
        if newest is None:
            return
        if newest.text != self._instruction.text:
            self._policy.instruct(newest.text)
        self._instruction, self._seen = newest, None

    def _new_instruction(self) -> Instruction | None:
        """The newest instruction, unless it is followed already."""
        newest = read_instruction(self._channels.instruction)
        return None if newest == self._instruction else newest

    def _begin_look(self) -> None:
        """Starts to perceive the newest observation, if there is one that may be used."""
        now_ns, hot = time.monotonic_ns(), self._channels.orders["hot"]
        if hot and now_ns < self._rest_until_ns:
            return
        loop_state = read_loop_state(self._channels.states)
        # After the loop's state was read: an instruction of a later episode is never followed for an earlier one.
        self.follow_instruction()
        observation = None if loop_state is None else self._observation(loop_state)
        if observation is None:
            return
        self._channels.policy["phase"] = Phase.WORKING
        self._sync.mark_used(observation.frames)
        self._looks = observation.number
        if not hot:
            self._interval_ns, self._begun_ns = observation.begun_ns - self._begun_ns, observation.begun_ns
        images = [message.value.image for message in observation.frames]
        self._looker.begin(observation, partial(look_at, self._policy, images, (self._settings.seed, self._looks)))

    def _observation(self, loop_state: LoopState) -> Observation | None:
        """Synchronized frames with the hand's pose at their time, if there are new ones that may be used."""
        frames = self._sync.latest()
        if frames is None:
            return None
        stamp_ns = min(message.stamp_ns for message in frames)
        if not self._may_use(loop_state, stamp_ns):
            return None
        hand = read_pose_at(self._channels.states, stamp_ns)
        if hand is None:
            return None
        return Observation(frames, hand, stamp_ns, loop_state, number=self._looks + 1, begun_ns=time.monotonic_ns())

    def _may_use(self, loop_state: LoopState, stamp_ns: int) -> bool:
        """Whether a look may be made from frames of `stamp_ns`.

        A policy that takes longer than its chunks last would always answer when all actions have passed. It observes
        only once the hand has come to rest, so that its chunk still fits when it arrives: stop and go.
        """
        if loop_state.episode < self._instruction.episode or stamp_ns < self._instruction.since_ns:
            return False
        if self._slow or not self._handover.may_observe(loop_state, stamp_ns):
            return loop_state.request >= self._sent and loop_state.rests_since(stamp_ns)
        return True

    def _take_look(self) -> None:
        """Goes on with a look that has been perceived: the next acts are made from it."""
        taken = self._looker.take()
        if taken is None:
            return
        now_ns, self._seen = time.monotonic_ns(), taken
        self._schedule.begin(now_ns, now_ns - taken[0].begun_ns)
        self._channels.policy.add("looks")

    def _act(self) -> bool:
        """Makes a chunk and sends it, if it is time; whether it was.

        The first act of a look starts from the pose at the time of its frames, as in training. Later ones start from
        the newest pose, which the frames do not show.
        """
        begun_ns = time.monotonic_ns()
        if self._seen is None or not self._schedule.due(begun_ns):
            return False
        observation, look = self._seen
        loop_state = read_loop_state(self._channels.states) or observation.loop_state
        first, hand, at_ns = self._schedule.first, observation.hand, observation.stamp_ns
        if not first:
            newest = read_state(self._channels.states)
            if newest is None or not self._may_act_again(observation, loop_state, newest.stamp_ns):
                return False
            hand, at_ns = newest.vector, newest.stamp_ns
        inferred = targets_from_look(
            self._policy,
            look,
            hand,
            arm=self._settings.arm,
            grip=self._settings.grip,
            previous=self._previous_chunk(loop_state, at_ns, begun_ns),
        )
        chunk = Chunk(
            targets=inferred.targets,
            anchor=hand,
            observed_ns=at_ns,
            request=observation.number * self._settings.acts_per_look + self._schedule.done,
            episode=observation.loop_state.episode,
            image_age_ns=at_ns - observation.stamp_ns,
        )
        perceived_ns = look.stages_ns if first else dict.fromkeys(look.stages_ns, 0)
        self._schedule.acted(begun_ns)
        self._channels.policy.add("inferences")
        sent = self._send(
            self._handover.chunk_to_play(chunk, loop_state),
            observation,
            {**perceived_ns, **inferred.stages_ns},
            started_ns=observation.begun_ns if first else begun_ns,
        )
        if sent:
            self._delay.add(time.monotonic_ns() - begun_ns)
            self._remember_actions(chunk.request, inferred.actions)
        if first:
            self._end_inference(observation)
        return True

    def _may_act_again(self, observation: Observation, loop_state: LoopState, state_ns: int) -> bool:
        """Whether a further act may be made from a look and the pose of `state_ns`.

        Not for an instruction or an episode that is over, not on a hot machine, not when the chunk, which ends with the
        age of its images, would hardly be worth starting, and not while a view has stopped.
        """
        aged = state_ns - observation.stamp_ns > SLOW_SHARE * self._policy.spec.action.chunk_ns
        episode_over = loop_state.episode != observation.loop_state.episode
        if aged or episode_over or self._new_instruction() is not None or self._channels.orders["hot"]:
            self._schedule.end()
            return False
        return state_ns > observation.stamp_ns and self._sync.all_fresh()

    def _previous_chunk(self, loop_state: LoopState, at_ns: int, begun_ns: int) -> PreviousChunk | None:
        """What a chunk made from the pose of `at_ns` has to continue, and how late it may come."""
        chunk = self._handover.chunk_to_continue(loop_state)
        actions = None if chunk is None else self._actions.get(chunk.request)
        if chunk is None or actions is None:
            return None
        delay_ns = begun_ns - at_ns + self._delay.bound_ns + self._settings.control_period_ns
        return PreviousChunk(chunk=chunk, actions=actions, observed_ns=at_ns, delay_ns=delay_ns)

    def _send(self, chunk: Chunk, observation: Observation, stages_ns: dict[str, int], started_ns: int) -> bool:
        """Publishes a chunk; False where the ring is full, which it counts: the loop has stalled."""
        record = self._channels.chunks.begin()
        if record is None:
            return False
        fill_chunk(
            record,
            chunk,
            frames=observation.frames,
            stages_ns=stages_ns,
            started_ns=started_ns,
            finished_ns=time.monotonic_ns(),
        )
        self._channels.chunks.commit()
        self._sent = chunk.request
        return True

    def _end_inference(self, observation: Observation) -> None:
        """Draws conclusions from how long it took from an observation to its first chunk."""
        now_ns, chunk_ns = time.monotonic_ns(), self._policy.spec.action.chunk_ns
        self._slow = now_ns - observation.stamp_ns > SLOW_SHARE * chunk_ns
        # After an outage the last interval says little; no regular one is longer than an inference and its chunk.
        longest_ns = now_ns - observation.begun_ns + chunk_ns
        self._rest_until_ns = observation.begun_ns + HOT_INTERVALS * min(self._interval_ns or longest_ns, longest_ns)

    def _remember_actions(self, request: int, actions: np.ndarray) -> None:
        self._actions[request] = actions
        while len(self._actions) > KEPT:
            del self._actions[min(self._actions)]
