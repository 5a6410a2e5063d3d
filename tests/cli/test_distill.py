"""`vpp-edge distill`: a student in the checkpoint's format from a checkpoint and recordings; wrong use is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from small_policy import SMALL

from vpp_edge.bundle.closed_loop import closed_loop_from_json
from vpp_edge.bundle.manifest import file_record
from vpp_edge.bundle.success_rate import SuccessRate
from vpp_edge.checkpoint.paths import CheckpointPaths, paths_from_folder
from vpp_edge.checkpoint.reader import Choices, read_checkpoint
from vpp_edge.checkpoint.untrained import write_untrained_checkpoint
from vpp_edge.cli.main import main
from vpp_edge.cli.student_text import student_lines
from vpp_edge.errors import BadInputError, CheckpointError
from vpp_edge.export import exporter
from vpp_edge.export.distill import loop
from vpp_edge.export.exporter import ExportOptions, export_bundle
from vpp_edge.export.onnx_writer import write_onnx
from vpp_edge.export.stages import Stage
from vpp_edge.runtime.policy.handover_modes import check_steps
from vpp_edge.workflow import student_play
from vpp_edge.workflow.closed_loop.evaluation import EvalSettings
from vpp_edge.workflow.distill_options import work_folder

QUICK = ["--observations", "6", "--held-out-samples", "2", "--head-training-steps", "3", "--quiet"]


@pytest.fixture
def command(small_checkpoint: Path, robot_recordings: Path, tmp_path: Path) -> list[str]:
    return ["distill", str(small_checkpoint), "--data", str(robot_recordings), "-o", str(tmp_path / "student"), *QUICK]


def test_a_student_is_a_checkpoint_with_two_steps(
    command: list[str], small_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--json"]) == 0
    card: dict[str, Any] = json.loads(capsys.readouterr().out)
    paths = paths_from_folder(tmp_path / "student")
    student, teacher = read_checkpoint(paths), read_checkpoint(paths_from_folder(small_checkpoint))
    assert student.spec.sigmas == pytest.approx((80, 0.3, 0)) and len(teacher.spec.sigmas) == 4
    assert student.spec.tokens == teacher.spec.tokens and student.spec.action == teacher.spec.action
    assert student.spec.prefix_pulls == card["prefix_pulls"] >= 1 and teacher.spec.prefix_pulls == 1
    assert all((student.former[name] == tensor).all() for name, tensor in teacher.former.items())
    assert card["measures"]["observations"] == 2 and card["held_out"].startswith("2 observations of 1 recording")
    assert student.card == {name: value for name, value in card.items() if name != "student_folder"}
    assert student.card["teacher_sha256"] == file_record(small_checkpoint / "policy.pt").sha256
    assert student.card["closed_loop"] == [] and teacher.card is None
    assert [step for step, _ in student.card["curves"]["head"]["losses"]] == [1, 2, 3]
    assert not work_folder(tmp_path / "student").exists()
    with pytest.raises(CheckpointError, match="distilled to 2 DDIM steps"):
        read_checkpoint(paths, Choices(steps=10))


def test_a_student_has_the_weights_that_its_teacher_was_read_with(command: list[str], small_copy: Path) -> None:
    """A LoRA that lies beside the policy is in the student's UNet, not beside it."""
    layer = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    factors = {f"{layer}.lora_A.weight": torch.ones(1, 32), f"{layer}.lora_B.weight": torch.ones(32, 1)}
    save_file(factors, small_copy / "adapter_model.safetensors")
    command[1] = str(small_copy)
    assert main(command) == 0
    student, teacher = (read_checkpoint(paths_from_folder(Path(f))) for f in (command[5], small_copy))
    assert teacher.notes and not student.notes
    for part in ("unet", "vae", "text"):
        tensors = getattr(student, part).tensors
        assert all(torch.equal(tensors[name], tensor) for name, tensor in getattr(teacher, part).tensors.items())


@pytest.mark.parametrize(
    ("option", "choices", "units"),
    [
        (["--variant", "calvin"], Choices(variant="calvin"), ["mm", "deg", "1"]),
        pytest.param(["--raw-actions"], Choices(raw_actions=True), ["mm", "deg", "rad"], marks=pytest.mark.slow),
    ],
)
def test_a_teacher_whose_actions_are_not_normalized(
    command: list[str],
    option: list[str],
    choices: Choices,
    units: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Seven relative actions and no state, as trained on CALVIN; or metres and radians, if the user says so."""
    write_untrained_checkpoint(tmp_path / "teacher", replace(SMALL, actions=7, proprio=None))
    command[1] = str(tmp_path / "teacher")
    assert main(command) == 2 and "pass --raw-actions" in capsys.readouterr().err
    assert main([*command, *option, "--json"]) == 0
    card: dict[str, Any] = json.loads(capsys.readouterr().out)
    student, teacher = (
        read_checkpoint(paths_from_folder(Path(f)), choices).spec for f in (tmp_path / "student", command[1])
    )
    assert student.action == teacher.action and student.action.bounds is None and student.state is None
    assert [segment["unit"] for segment in card["physical"]["student"]] == units
    assert card["measures"]["teacher_spread"] > 0


def test_one_step_is_not_for_real_time_chunking() -> None:
    check_steps("rtc", 2)
    check_steps("naive", 1)
    with pytest.raises(BadInputError, match=r"samples its actions in one step.*--chunking naive"):
        check_steps("rtc", 1)


def test_an_interrupted_run_is_not_overwritten_and_goes_on(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            "vpp_edge.workflow.distilling.distill_head", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        assert main(command) == 130
    assert work_folder(tmp_path / "student").is_dir() and not (tmp_path / "student").exists()
    assert main(command) == 2 and "go on with --resume, or remove it" in capsys.readouterr().err
    assert main([*command, "--resume", "--seed", "1"]) == 2
    assert "begun with other settings (--seed was 0, is 1)" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert main(command) == 2 and "student exists; choose another folder" in capsys.readouterr().err


@pytest.mark.slow
def test_student_and_teacher_play_and_the_bundle_has_the_card(
    command: list[str],
    small_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that ends between training and playing goes on without a step of training."""
    defaults = {field.name: field.default for field in dataclasses.fields(EvalSettings)}
    shorter = tuple({**defaults, "time_limit_s": 0.1}.values())
    monkeypatch.setattr(EvalSettings.__init__, "__defaults__", shorter)
    command = [*command, "--closed-loop", "2", "--world", "either", "--seed", "6"]
    with monkeypatch.context() as patch:
        patch.setattr(student_play, "export_bundle", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(command) == 130

    def traced_where_new(stage: Stage, folder: Path) -> tuple[Path, Path]:
        """Text and video model are the teacher's, whose bundle there is; the parity check is real for all."""
        if stage.name == "act":
            return write_onnx(stage, folder)
        for suffix in (".onnx", ".onnx.data"):
            shutil.copyfile(small_bundle / "onnx" / (stage.name + suffix), folder / (stage.name + suffix))
        return folder / f"{stage.name}.onnx", folder / f"{stage.name}.onnx.data"

    def export(paths: CheckpointPaths, target: Path, options: ExportOptions) -> None:
        if target.name == "teacher":
            shutil.copytree(small_bundle, target)
            return
        export_bundle(paths, target, options)
        shutil.copytree(target, tmp_path / "bundle")  # the exported one is removed at the end

    monkeypatch.setattr(exporter, "write_onnx", traced_where_new)
    monkeypatch.setattr(student_play, "export_bundle", export)
    monkeypatch.setattr(loop, "_share_gradients", lambda *_: pytest.fail("a step was taken again"))
    assert main([*command, "--resume", "--json"]) == 0
    card: dict[str, Any] = json.loads(capsys.readouterr().out)
    (record,) = card["closed_loop"]
    played = closed_loop_from_json(record)
    assert played is not None and (played.world, played.chunking, played.seed) == ("either", "rtc", 6)
    assert played.policy == played.reference == SuccessRate(0, 2)
    assert [step for step, _ in card["curves"]["head"]["losses"]] == [1, 2, 3]
    del card["student_folder"]
    before = {**card, "closed_loop": []}  # when the bundle was exported, to play with
    for folder, known in ((tmp_path / "student", card), (tmp_path / "bundle", before)):
        assert main(["inspect", str(folder), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found.get("provenance", found)["student"] == known
        assert main(["inspect", str(folder)]) == 0
        said = capsys.readouterr().out
        assert "\n".join(student_lines(known)) in said
        assert ("the bundle's against the student" in said) == (folder.name == "bundle")
    assert main(["inspect", str(small_bundle)]) == 0 and "student" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--world", "either"], "--world is for the episodes of --closed-loop"),
        (["--closed-loop", "1", "--seed", "1000"], "seed 1000: expected a whole number from 0 to 999"),
        (["--resume"], "there is no unfinished distillation"),
        (["--head-steps", "0"], "--head-steps 0: expected a whole number from 1 to 10"),
        (["--data", "nowhere"], "nowhere: no such data set"),
        (["--worker-gpus", "1", "--processes", "2"], "--worker-gpus is for the workers of --ray"),
        (["--worker-threads", "2"], "--worker-threads is for the workers of --processes or --ray"),
        (["--plan"], "--plan says what a student costs; choose one with --student"),
        (["--disk-limit", "1e-9"], "the teacher's outputs take 0.00 GiB; use fewer --observations, or allow it with"),
        (["--ray", "head"], "--ray head: expected HOST:PORT"),
        (["--steps", "5"], "--steps is for the training of the video model; choose its student with --student"),
        (["--views", "0"], "the recordings to train on: recording 0 has 1 view, the policy needs 2"),
        (["--student", "tiny.yaml"], "--student tiny.yaml: not readable as a specification"),
        (["--student", "demo", "--batch", "3", "--accumulate", "2"], "a batch of 3 cannot be shared evenly"),
        (["--rate", "2", "--student", "demo"], "--rate 2: expected a number above 0, at most 1"),
    ],
)
def test_wrong_use(
    command: list[str], words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *words]) == 2
    assert said in capsys.readouterr().err
    assert not work_folder(tmp_path / "student").exists()


@pytest.fixture
def student_command(command: list[str], tmp_path: Path) -> list[str]:
    """A student of the video model: half the frames, a tiny encoder."""
    spec = tmp_path / "half.yaml"
    spec.write_text(
        "frames: 8\nencoder: {kind: tiny, block_out_channels: [16, 16, 16, 16], layers_per_block: [0, 1, 1, 1]}"
    )
    return [*command, "--student", str(spec), "--steps", "2", "--batch", "2"]


def test_a_student_of_the_video_model_is_a_checkpoint_too(
    student_command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*student_command, "--json"]) == 0
    card: dict[str, Any] = json.loads(capsys.readouterr().out)
    student = read_checkpoint(paths_from_folder(tmp_path / "student"))
    assert student.spec.frames == 8 and student.config.former.frames == 8
    assert student.vae.config["_class_name"] == "AutoencoderTiny"
    assert card["student"]["frames"] == 8 and card["token_error"] > 0
    assert {segment["unit"] for segment in card["physical"]["student"]} == {"mm", "deg", "rad"}


@pytest.mark.slow
def test_a_plan_needs_no_recordings(command: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    spec = tmp_path / "half.yaml"
    spec.write_text("frames: 8")
    assert main(["distill", command[1], "--student", str(spec), "--plan", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("half, ") and any(line.startswith("orin-agx-64gb") for line in lines)
    assert not (tmp_path / "student").exists()


@pytest.mark.slow
def test_two_processes_make_the_student_of_one(student_command: list[str], tmp_path: Path) -> None:
    """Up to rounding: a gradient that is nothing else still moves a weight by the learning rate."""
    assert main(student_command) == 0
    both = [str(tmp_path / "both") if word == str(tmp_path / "student") else word for word in student_command[1:]]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    subprocess.run(
        [*launcher, "-m", "vpp_edge.export.distill", *both],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        timeout=600,
    )
    one, two = (read_checkpoint(paths_from_folder(tmp_path / name)) for name in ("student", "both"))
    for part in ("unet", "vae"):
        for name, tensor in getattr(one, part).tensors.items():
            torch.testing.assert_close(getattr(two, part).tensors[name], tensor, rtol=0, atol=2e-4)
    for name, tensor in {**one.former, **one.head}.items():
        torch.testing.assert_close({**two.former, **two.head}[name], tensor, rtol=0, atol=2e-4)
