"""A student of the video model learns from kept outputs, and its checkpoint computes what it computed in training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vpp_edge.calibration.datasets import open_dataset
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import Checkpoint, Choices, read_checkpoint
from vpp_edge.errors import BadInputError
from vpp_edge.export.distill.loop import Trainer
from vpp_edge.export.distill.observations import Observations
from vpp_edge.export.distill.student_spec import EncoderSpec, StudentSpec
from vpp_edge.export.distill.student_writer import Student, write_student
from vpp_edge.export.distill.training_options import TrainingOptions
from vpp_edge.export.distill.video import VideoLesson, student_seen
from vpp_edge.model.policy import VideoPredictionPolicy, policy_from_checkpoint
from vpp_edge.progress import ignore_progress
from vpp_edge.workflow.distilling_video import TrainedVideo, trained_video
from vpp_edge.workflow.teaching import Teaching

KL = EncoderSpec(kind="kl", block_out_channels=(32, 32, 32, 32), layers_per_block=(1,))
TINY = EncoderSpec(kind="tiny", block_out_channels=(16,) * 4, layers_per_block=(0, 1, 1, 1))
SMALLER = StudentSpec(frames=2, block_out_channels=(32, 32, 32, 64), layers_per_block=1)


@pytest.fixture(scope="module")
def policy(teacher_checkpoint: Checkpoint) -> VideoPredictionPolicy:
    return policy_from_checkpoint(teacher_checkpoint)


@pytest.fixture(scope="module")
def observations(
    teacher_checkpoint: Checkpoint,
    policy: VideoPredictionPolicy,
    robot_recordings: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Observations:
    teaching = Teaching(
        checkpoint=teacher_checkpoint,
        choices=Choices(),
        policy=policy,
        datasets=(robot_recordings,),
        folder=tmp_path_factory.mktemp("outputs"),
        executor=None,
        stride=4,
        device=torch.device("cpu"),
        part=(0, 1),
        report=ignore_progress,
    )
    return teaching.observations("teacher", open_dataset(robot_recordings).recordings, 6, 3)


def trained(
    checkpoint: Checkpoint, policy: VideoPredictionPolicy, observations: Observations, spec: StudentSpec, folder: Path,
    **options: object,
) -> TrainedVideo:  # fmt: skip
    return trained_video(
        checkpoint,
        spec,
        policy.head,
        learnt=observations,
        judged=observations,
        options=TrainingOptions(**{"steps": 4, "batch": 4, **options}),  # type: ignore[arg-type]
        trainer=Trainer(folder=folder, seed=0),
    )


@torch.no_grad()
def test_what_is_kept_is_what_the_teacher_computes(
    teacher_checkpoint: Checkpoint, policy: VideoPredictionPolicy, observations: Observations
) -> None:
    rows = observations.rows([1, 4], ("frames", "text_hidden", "latents", "features", "scales", "tokens"))
    noise, _ = observations.noise([1, 4], teacher_checkpoint.spec, 1)
    for i in range(2):
        latents = policy.video.encode_images(rows["frames"][i])
        features = policy.video(rows["frames"][i], rows["text_hidden"][i : i + 1].float(), noise[i])
        kept = rows["features"][i].float() * rows["scales"][i][:, None, None]
        assert torch.equal(rows["latents"][i], latents.half())
        assert float((kept - features[:, ::4]).abs().max()) <= float(rows["scales"][i].max()) * 0.51
        torch.testing.assert_close(rows["tokens"][i].float(), policy.tokens(features)[0], atol=5e-3, rtol=5e-3)


def test_outputs_that_are_kept_for_more_frames_serve_a_student_of_fewer(
    teacher_checkpoint: Checkpoint, policy: VideoPredictionPolicy, observations: Observations
) -> None:
    """As in a sweep, whose students have different frames; here 2 of 8 are kept, every fourth one."""
    two, one = (
        VideoLesson(observations=observations, spec=teacher_checkpoint.spec, head=policy.head, stride=stride,
                    own_encoder=False).rows([0, 4])
        for stride in (4, 8)
    )  # fmt: skip
    assert two["features"].shape[2] == 2 and one["features"].shape[2] == one["noise"].shape[2] == 1
    assert all(torch.equal(one[name], two[name][:, :, ::2]) for name in ("features", "noise"))


@pytest.mark.parametrize("encoder", [EncoderSpec(), KL, TINY], ids=["full", "kl", "tiny"])
def test_the_checkpoint_of_a_student_computes_its_tokens(
    teacher_checkpoint: Checkpoint,
    policy: VideoPredictionPolicy,
    observations: Observations,
    encoder: EncoderSpec,
    tmp_path: Path,
) -> None:
    spec = StudentSpec(**{**vars(SMALLER), "encoder": encoder})
    video = trained(teacher_checkpoint, policy, observations, spec, tmp_path)
    sizes = video.start.config.former
    model = {"num_latents": 2 * sizes.queries_per_frame, "Former_num_time_embeds": 2, "extract_layer_idx": 1}
    student = Student(
        unet=video.unet(),
        vae=video.vae(),
        former=video.student.fold_projector(),
        head=policy.head.state_dict(),
        model=model,
        card={},
    )
    write_student(teacher_checkpoint, student, tmp_path / "student")
    written = policy_from_checkpoint(read_checkpoint(paths_from_folder(tmp_path / "student")))
    wanted = torch.cat([seen.tokens for seen in student_seen(video.student, video.lesson, observations)])
    rows, (noise, _) = (
        observations.rows(range(6), ("frames", "text_hidden")),
        observations.noise(range(6), video.lesson.spec, 4),
    )
    found = [written.perceive(rows["frames"][i], rows["text_hidden"][i : i + 1].float(), noise[i]) for i in range(6)]
    error = float((torch.cat(found) - wanted).abs().max() / wanted.abs().max())
    assert error < 1e-4


def test_training_brings_the_student_nearer_and_leaves_the_teacher_alone(
    teacher_checkpoint: Checkpoint, policy: VideoPredictionPolicy, observations: Observations, tmp_path: Path
) -> None:
    before = {name: tensor.clone() for name, tensor in teacher_checkpoint.former.items()}
    trained(teacher_checkpoint, policy, observations, SMALLER, tmp_path, steps=40, rate=3e-3)
    losses = torch.load(tmp_path / "video.pt", weights_only=True)["state"]["losses"]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher_checkpoint.former.items())


def test_a_killed_training_goes_on_to_the_same_curve(
    teacher_checkpoint: Checkpoint,
    policy: VideoPredictionPolicy,
    observations: Observations,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vpp_edge.export.distill.loop.SAVE_S", 0.0)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
    spec = StudentSpec(**{**vars(SMALLER), "encoder": KL})
    once = trained(teacher_checkpoint, policy, observations, spec, whole)
    with monkeypatch.context() as patch:
        patch.setattr("vpp_edge.export.distill.loop.Trainer.mean", _fail_at_the_third())
        with pytest.raises(KeyboardInterrupt):
            trained(teacher_checkpoint, policy, observations, spec, stopped)
    again = trained(teacher_checkpoint, policy, observations, spec, stopped)
    for name, tensor in once.student.state_dict().items():
        assert torch.equal(tensor, again.student.state_dict()[name]), name


def _fail_at_the_third() -> object:
    calls = []

    def mean(trainer: Trainer, values: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return values

    return mean


def test_a_training_that_does_not_fit_is_refused_with_the_numbers(
    teacher_checkpoint: Checkpoint,
    policy: VideoPredictionPolicy,
    observations: Observations,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vpp_edge.workflow.distilling_video.memory_sizes_bytes", lambda: {"MemAvailable": 2**20})
    with pytest.raises(BadInputError, match=r"training takes about .* GiB, 0\.0 are free.*--gradient-checkpointing"):
        trained(teacher_checkpoint, policy, observations, SMALLER, tmp_path)


def test_sparse_weights_are_two_of_four_at_the_end(
    teacher_checkpoint: Checkpoint, policy: VideoPredictionPolicy, observations: Observations, tmp_path: Path
) -> None:
    video = trained(teacher_checkpoint, policy, observations, SMALLER, tmp_path, sparse=True)
    weight = video.unet().tensors["down_blocks.1.resnets.0.spatial_res_block.conv2.weight"]
    assert int((weight.unflatten(1, (-1, 4)) != 0).sum(2).max()) == 2
