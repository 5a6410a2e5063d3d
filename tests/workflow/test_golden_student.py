"""A student of a golden policy on real recordings: its tokens against those of the teacher and of their mean."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from material import GOLDEN, golden_checkpoint

from vpp_edge.checkpoint.choices import Choices
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.export.distill.loop import Trainer
from vpp_edge.export.distill.student_spec import StudentSpec
from vpp_edge.export.distill.training_options import TrainingOptions
from vpp_edge.model.policy import policy_from_checkpoint
from vpp_edge.progress import ignore_progress
from vpp_edge.workflow.distilling_video import trained_video
from vpp_edge.workflow.lesson_data import training_and_held_out
from vpp_edge.workflow.teaching import Teaching

EPISODES = GOLDEN.parent / "episodes" / "xhand"


@pytest.mark.slow
@pytest.mark.skipif(not EPISODES.is_dir(), reason=f"no recordings at {EPISODES}; they are kept beside the repository")
def test_tokens_of_half_the_frames_are_nearer_than_their_mean(tmp_path: Path) -> None:
    """The teacher's weights are random, so little of it outlives more than frames; and the one recording that is left
    to train on has another instruction than the one that is held out."""
    checkpoint = read_checkpoint(paths_from_folder(golden_checkpoint("xhand-tiny")))
    policy = policy_from_checkpoint(checkpoint)
    teaching = Teaching(
        checkpoint=checkpoint,
        choices=Choices(),
        policy=policy,
        datasets=(EPISODES,),
        folder=tmp_path,
        executor=None,
        stride=2,
        device=torch.device("cpu"),
        part=(0, 1),
        report=ignore_progress,
    )
    training, judging = training_and_held_out((EPISODES,), ())
    judged = teaching.observations("held-out", judging, 2, 1)
    video = trained_video(
        checkpoint,
        StudentSpec(frames=8),
        policy.head,
        learnt=teaching.observations("teacher", training, 4, 0),
        judged=judged,
        options=TrainingOptions(steps=1, batch=1),
        trainer=Trainer(folder=tmp_path, seed=0),
    )
    assert video.token_error(judged) <= 0.8
