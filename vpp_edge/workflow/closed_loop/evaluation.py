"""Play episodes in simulated time and record their results, which do not depend on the speed of the machine.

Evaluation seed S plays the worlds from S * 10,000 on, all below 10,000,000. Training data uses worlds from there on, so
no policy is evaluated on an episode that it was trained on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.errors import BadInputError
from vpp_edge.executor.interface import Executor, Needs
from vpp_edge.executor.processes import Processes
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.runtime.control.contract import ControlSettings
from vpp_edge.runtime.policy.act_schedule import check_acts_per_look
from vpp_edge.runtime.policy.handover_modes import RTC, checked_mode
from vpp_edge.runtime.policy.tokenizer import InstructionTokenizer
from vpp_edge.runtime.sim.lockstep import Outcome, Pace, play
from vpp_edge.runtime.sim.smoothness import jerks, seam_jumps
from vpp_edge.runtime.sim.task import episode_from_seed, instructions_of
from vpp_edge.runtime.sim.worlds.kinds import BUTTONS, WorldKind, kind_from_name
from vpp_edge.spec.instruction import warn_if_truncated
from vpp_edge.workflow.closed_loop.bounds import (
    DELAY_MS,
    EPISODE_S,
    EPISODES,
    EVALUATION_SEED,
    REPLAN_MS,
    WORLDS_PER_SEED,
)
from vpp_edge.workflow.closed_loop.players import Player, PlayerChoice, open_player


@dataclass(frozen=True)
class EvalSettings:
    """Which episodes to play, and how.

    Attributes:
        episodes: number of episodes; episode i is the world of seed `seed` * WORLDS_PER_SEED + i.
        seed: of episodes and noise: inference n of episode i draws from (seed, i, n).
        replan_ns: time from one observation to the next; `delay_ns`: from an observation to its chunk.
        time_limit_s: a longer episode has failed; None: the world's limit.
        chunking: how a chunk takes over from the previous one, one of `handover_modes.MODES`.
        acts_per_look, act_delay_ns: as in `lockstep.Pace`.
        world: one of `kinds.NAMES`.
    """

    episodes: int = 200
    seed: int = 0
    replan_ns: int = 200_000_000
    delay_ns: int = 0
    time_limit_s: float | None = None
    chunking: str = RTC
    acts_per_look: int = 1
    act_delay_ns: int = 0
    world: str = BUTTONS.name

    def __post_init__(self) -> None:
        checked_mode(self.chunking)
        check_acts_per_look(self.acts_per_look, self.chunking)
        EPISODES.check("episodes", self.episodes)
        EVALUATION_SEED.check("seed", self.seed)
        REPLAN_MS.check("replan_ms", self.replan_ns / 1e6)
        DELAY_MS.check("delay_ms", self.delay_ns / 1e6)
        DELAY_MS.check("act_delay_ms", self.act_delay_ns / 1e6)
        if self.act_delay_ns > self.delay_ns:
            raise BadInputError(
                f"act_delay_ms {self.act_delay_ns / 1e6:g} is part of delay_ms, which is only {self.delay_ns / 1e6:g}"
            )
        EPISODE_S.check("time_limit_s", self.limit_s)

    @property
    def kind(self) -> WorldKind:
        """The kind of the world. Raises BadInputError where there is none of that name."""
        return kind_from_name(self.world)

    @property
    def limit_s(self) -> float:
        """The time limit of an episode."""
        return self.kind.time_limit_s if self.time_limit_s is None else self.time_limit_s


@dataclass(frozen=True)
class EpisodeResult:
    """The result of one episode.

    Attributes:
        seed: of the world; `verdict`, `pressed`, `seconds`, `stopped`: as in `lockstep.Outcome`.
        jerks: (n, 2) of `smoothness.jerks`; `seams`: (k, 3) of `smoothness.seam_jumps`.
        inference_ns: duration of each inference; empty for players without inference.
    """

    seed: int
    colour: str
    verdict: str
    pressed: tuple[str, ...]
    seconds: float
    jerks: np.ndarray
    seams: np.ndarray
    inference_ns: tuple[int, ...]
    stopped: str = ""


def progress_stages(choice: PlayerChoice, settings: EvalSettings) -> tuple[tuple[str, float], ...]:
    """(stage of the progress display, seconds on two cores for a small policy)."""
    return ("load", 3.0), ("play", (1.5 if choice.is_bundle else 0.1) * settings.episodes)


def evaluate(
    choice: PlayerChoice,
    settings: EvalSettings,
    executor: Executor | None = None,
    report: ProgressCallback = ignore_progress,
) -> list[EpisodeResult]:
    """Plays all episodes, in parallel; results in the order of the episodes.

    Args:
        executor: where; None: in one process per core.
        report: called with (stage, fraction), stages as in `progress_stages`.

    Raises:
        BadInputError: the policy cannot drive the simulated hand, or cannot be loaded.
        VppEdgeError: a worker died or failed.
    """
    report("load", 0)
    _warn_of_truncation(choice, settings.kind)
    choice = choice.with_absolute_paths()
    found: dict[int, EpisodeResult] = {}
    executor, needs = executor or Processes(), Needs(files=choice.files())
    for number, result in executor.results(open_play, (choice, settings), range(settings.episodes), needs):
        found[number] = result
        report("play", len(found) / settings.episodes)
    return [found[number] for number in range(settings.episodes)]


def open_play(choice: PlayerChoice, settings: EvalSettings) -> Callable[[int], EpisodeResult]:
    """A function that plays an episode by number in this process; its number of threads determines how sums round."""
    return partial(play_episode, open_player(choice), settings)


def play_episode(player: Player, settings: EvalSettings, number: int) -> EpisodeResult:
    """Plays one of the episodes of an evaluation."""
    episode = episode_from_seed(settings.seed * WORLDS_PER_SEED + number, settings.kind)
    thinker, pace = player.enter(episode, (settings.seed, number)), _pace(player, settings)
    outcome = play(episode, thinker, player.horizon, pace, time_limit_s=settings.time_limit_s)
    return _result(outcome, player)


def _warn_of_truncation(choice: PlayerChoice, kind: WorldKind) -> None:
    """Warns of the words of the world's instructions that the policy does not read, once for all processes."""
    if not choice.is_bundle:
        return
    bundle = Bundle(Path(choice.policy))
    spec = bundle.manifest.policy
    tokenizer = InstructionTokenizer(bytes(bundle.open_verified(bundle.manifest.tokenizer)), spec.pad_token_id)
    for instruction in instructions_of(kind):
        warn_if_truncated(instruction, [tokenizer.tokens(instruction, length) for length in spec.text_lengths])


def _pace(player: Player, settings: EvalSettings) -> Pace:
    return Pace(
        period_ns=player.period_ns,
        replan_ns=settings.replan_ns,
        delay_ns=settings.delay_ns,
        chunking=settings.chunking,
        acts_per_look=settings.acts_per_look,
        act_delay_ns=settings.act_delay_ns,
    )


def _result(outcome: Outcome, player: Player) -> EpisodeResult:
    return EpisodeResult(
        seed=outcome.seed,
        colour=outcome.colour,
        verdict=outcome.verdict,
        pressed=outcome.pressed,
        seconds=outcome.seconds,
        jerks=jerks(outcome.commands, ControlSettings().period_ns),
        seams=seam_jumps(outcome.played, player.period_ns),
        inference_ns=tuple(player.inference_ns),
        stopped=outcome.stopped,
    )
