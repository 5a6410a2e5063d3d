"""Players without a policy, and ranges of the settings of an evaluation. Imports no numpy, so `--help` can use it."""

from __future__ import annotations

from vpp_edge.number_range import above, real, whole

EXPERT, CHASER, RANDOM = "expert", "chaser", "random"
SCRIPTED = (EXPERT, CHASER, RANDOM)
WORLDS_PER_SEED = 10_000
EPISODES = whole(1, WORLDS_PER_SEED)
EVALUATION_SEED = whole(0, 999, why="other worlds are for training")
DELAY_MS = real(0, 60_000)
REPLAN_MS = above(0, 60_000)
EPISODE_S = above(0, 600)
