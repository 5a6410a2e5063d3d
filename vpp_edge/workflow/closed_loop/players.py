"""Players of the episodes: the scripted expert, random motion, or the policy of a bundle."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from vpp_edge.bundle.engine import ONNXRUNTIME
from vpp_edge.bundle.manifest import MANIFEST_NAME, Bundle
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.control.scalar_rotation import turned
from vpp_edge.runtime.policy.edge_policy import EdgePolicy
from vpp_edge.runtime.policy.inference import Look, look_at, targets_from_look
from vpp_edge.runtime.policy.rtc_prefix import PreviousChunk
from vpp_edge.runtime.policy.targets import state_from_hand, targets_from_actions
from vpp_edge.runtime.sim.expert import expert_targets
from vpp_edge.runtime.sim.hand import LIMITS, SimHand
from vpp_edge.runtime.sim.lockstep import SimObservation, TargetFunction
from vpp_edge.runtime.sim.renderer import SimRenderer
from vpp_edge.runtime.sim.task import START, Episode
from vpp_edge.runtime.sim.view_names import POLICY_IMAGE_SIDE, POLICY_VIEWS
from vpp_edge.runtime.sim.world import plate_of
from vpp_edge.spec.instruction import truncation_ignored
from vpp_edge.spec.policy import PolicySpec
from vpp_edge.spec.pose import PoseLayout
from vpp_edge.wording import counted
from vpp_edge.workflow.closed_loop.bounds import CHASER, EXPERT, RANDOM, SCRIPTED

SCRIPTED_HORIZON, SCRIPTED_PERIOD_NS = 8, 100_000_000
RANDOM_STEP_M, RANDOM_STEP_RAD, RANDOM_BEND_RAD = 0.02, 0.06, 0.3  # about the expert's step sizes


@dataclass(frozen=True)
class PlayerChoice:
    """Choice of a player.

    Attributes:
        policy: one of SCRIPTED, or the folder of a bundle.
        backend: engine library of a bundle.
        checkpoint: for backends `torch` and `torch-cuda`: current folder of the trained policy.
        provider: of ONNX Runtime, as in `EdgePolicy.load`.
    """

    policy: str
    backend: str = ONNXRUNTIME
    checkpoint: str | None = None
    provider: str | None = None

    @property
    def is_bundle(self) -> bool:
        return self.policy not in SCRIPTED

    def with_absolute_paths(self) -> PlayerChoice:
        """The same choice, whatever a worker's working directory is."""
        if not self.is_bundle:
            return self
        checkpoint = None if self.checkpoint is None else os.path.abspath(self.checkpoint)
        return replace(self, policy=os.path.abspath(self.policy), checkpoint=checkpoint)

    def files(self) -> tuple[Path, ...]:
        """What tells it from another: the manifest of a bundle, which has the hashes of its files; its checkpoint."""
        if not self.is_bundle:
            return ()
        return (Path(self.policy) / MANIFEST_NAME, *([] if self.checkpoint is None else [Path(self.checkpoint)]))


class Player(Protocol):
    """Plays one episode after another.

    Attributes:
        horizon: T; `period_ns`: between two targets.
        inference_ns: durations of the inferences of the current episode; empty for players without inference.
    """

    horizon: int
    period_ns: int
    inference_ns: list[int]

    def enter(self, episode: Episode, noise: tuple[int, int]) -> TargetFunction:
        """A function that returns the targets of an episode; all randomness in it is derived from `noise`."""


def open_player(choice: PlayerChoice) -> Player:
    """The player of a choice, in this process.

    Raises:
        BadInputError: the bundle or the backend cannot drive the simulated hand.
    """
    if choice.policy in (EXPERT, CHASER):
        return ExpertPlayer(predicts=choice.policy == EXPERT)
    if choice.policy == RANDOM:
        return RandomPlayer()
    check_drives_sim_hand(Bundle(Path(choice.policy)).manifest.policy)
    policy = EdgePolicy.load(
        choice.policy, choice.backend, threads=1, checkpoint=choice.checkpoint, provider=choice.provider
    )
    return PolicyPlayer(policy)


class ExpertPlayer:
    """Upper bound of the task: it knows where everything is.

    Args:
        predicts: whether it goes to where the button will be; otherwise to where it is now.
    """

    horizon, period_ns = SCRIPTED_HORIZON, SCRIPTED_PERIOD_NS

    def __init__(self, predicts: bool = True) -> None:
        self.inference_ns: list[int] = []
        self._predicts = predicts

    def enter(self, episode: Episode, noise: tuple[int, int]) -> TargetFunction:
        def targets(moment: SimObservation) -> np.ndarray:
            plate = plate_of(moment.scene)
            return expert_targets(
                episode, moment.state, self.horizon, plate if self._predicts else replace(plate, speed_rad_s=0.0)
            )

        return targets


class RandomPlayer:
    """Lower bound of the task: random steps within the reach of the hand."""

    horizon, period_ns = SCRIPTED_HORIZON, SCRIPTED_PERIOD_NS

    def __init__(self) -> None:
        self.inference_ns: list[int] = []

    def enter(self, episode: Episode, noise: tuple[int, int]) -> TargetFunction:
        random = np.random.default_rng(noise)
        return lambda moment: _wander(moment.state, random, self.horizon)


def _wander(state: np.ndarray, random: np.random.Generator, horizon: int) -> np.ndarray:
    targets = np.empty((horizon, len(state)))
    for target in targets:
        place = state[PoseLayout.POSITION] + random.uniform(-RANDOM_STEP_M, RANDOM_STEP_M, 3)
        turn = turned(state[PoseLayout.QUATERNION], random.uniform(-RANDOM_STEP_RAD, RANDOM_STEP_RAD, 3))
        bent = state[PoseLayout.JOINTS] + random.uniform(
            -RANDOM_BEND_RAD, RANDOM_BEND_RAD, len(state) - PoseLayout.WRIST_DIMS
        )
        target[PoseLayout.POSITION] = np.clip(place, LIMITS.wrist_lower_m, LIMITS.wrist_upper_m)
        target[PoseLayout.QUATERNION] = turn
        target[PoseLayout.JOINTS] = np.clip(bent, LIMITS.joint_lower_rad, LIMITS.joint_upper_rad)
        state = target
    return targets


class PolicyPlayer:
    """A policy that gets the images of the simulation's cameras and the instruction.

    Images are always rendered in software, so that they are the same on every machine.
    """

    def __init__(self, policy: EdgePolicy) -> None:
        self._policy, self._renderer = policy, SimRenderer(POLICY_IMAGE_SIDE, POLICY_IMAGE_SIDE, "software")
        self._grip = np.array(SimHand.grip[0]), np.array(SimHand.grip[1])
        self.horizon, self.period_ns = policy.spec.action.horizon, policy.spec.action.period_ns
        self.inference_ns: list[int] = []

    def enter(self, episode: Episode, noise: tuple[int, int]) -> TargetFunction:
        self.inference_ns = []
        with truncation_ignored():  # `evaluate` says it, once for all processes
            self._policy.instruct(episode.instruction)
        actions: list[np.ndarray] = []
        looks: list[tuple[SimObservation, Look]] = []

        def targets(observation: SimObservation) -> np.ndarray:
            seen, perceive_ns = observation.seen or observation, 0
            if not looks or looks[-1][0] is not seen:
                images = [self._renderer.render(view, seen.state, seen.scene) for view in POLICY_VIEWS]
                looks.append((seen, look_at(self._policy, images, (*noise, len(looks)))))
                perceive_ns = looks[-1][1].stages_ns["perceive"]
            previous = None
            if observation.previous is not None:
                previous = PreviousChunk(
                    chunk=observation.previous,
                    actions=actions[observation.previous.request],
                    observed_ns=observation.stamp_ns,
                    delay_ns=observation.delay_ns,
                )
            inferred = targets_from_look(
                self._policy, looks[-1][1], observation.state, grip=self._grip, previous=previous
            )
            actions.append(inferred.actions)
            self.inference_ns.append(perceive_ns + inferred.stages_ns["act"])
            return inferred.targets

        return targets


def check_drives_sim_hand(spec: PolicySpec) -> None:
    """Raises BadInputError for a policy whose views, joints or actions do not fit the simulated hand."""
    if len(spec.cameras) != len(POLICY_VIEWS):
        names = ", ".join(camera.name for camera in spec.cameras)
        raise BadInputError(
            f"this policy cannot play in the simulation: it needs {counted(len(spec.cameras), 'view')} ({names}), the "
            "simulation "
            f"has {len(POLICY_VIEWS)}: {', '.join(POLICY_VIEWS)}"
        )
    hand = np.array(START)
    try:
        state_from_hand(spec, hand)
        targets_from_actions(
            spec, np.zeros(spec.chunk_shape), hand, grip=(hand[PoseLayout.JOINTS], hand[PoseLayout.JOINTS])
        )
    except BadInputError as error:
        raise BadInputError(f"this policy cannot play in the simulation: {error}") from error
