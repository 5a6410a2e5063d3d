"""The three parts of a policy are found by their content, and what is no VPP policy is called by its name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from edited import edit_json, edit_policy

from vpp_edge.checkpoint.foreign_models import foreign_model
from vpp_edge.checkpoint.paths import paths_from_folder, paths_from_parts
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.cli.main import main
from vpp_edge.errors import CheckpointError


@pytest.fixture
def release(small_copy: Path) -> Path:
    """A checkpoint with the names of the released policies."""
    (small_copy / "svd").rename(small_copy / "svd-robot-calvin-ft")
    (small_copy / "clip").rename(small_copy / "clip-vit-base-patch32")
    saved = small_copy / "dp-calvin" / "saved_models"
    saved.mkdir(parents=True)
    (small_copy / "policy.pt").rename(saved / "epoch_20.pt")
    return small_copy


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(paths_from_folder(folder))
    return str(error.value)


def add_policy(folder: Path, name: str, age_s: int) -> None:
    path = folder / "dp-calvin" / "saved_models" / name
    path.write_bytes((path.parent / "epoch_20.pt").read_bytes())
    os.utime(path, ns=(0, (path.parent / "epoch_20.pt").stat().st_mtime_ns - age_s * 10**9))


def test_the_folders_of_a_release_are_found(release: Path) -> None:
    paths = paths_from_folder(release)
    assert paths.video_model.name == "svd-robot-calvin-ft" and paths.text_encoder.name == "clip-vit-base-patch32"
    assert paths.policy.name == "epoch_20.pt"
    (note,) = read_checkpoint(paths).notes
    assert note == f"the policy is read from {paths.policy}"


def test_the_newest_policy_of_a_run_is_read_and_said(release: Path) -> None:
    add_policy(release, "epoch_10.pt", age_s=60)
    add_policy(release, "epoch_15.pt", age_s=30)
    (release / "dp-calvin" / "saved_models" / "._epoch_30.pt").write_bytes(b"")
    paths = paths_from_folder(release)
    assert paths.policy.name == "epoch_20.pt"
    assert paths.notes == (
        f"the policy is read from {paths.policy}, the newest of 3; "
        "choose another (epoch_10.pt, epoch_15.pt) with --policy",
    )


def test_policies_of_one_age_leave_the_choice_to_the_user(release: Path) -> None:
    add_policy(release, "epoch_10.pt", age_s=0)
    with pytest.raises(CheckpointError, match=r"epoch_10\.pt.*epoch_20\.pt\)\. Pass one of them with --policy"):
        paths_from_folder(release)


def test_a_run_may_be_given_as_the_policy(release: Path) -> None:
    paths = paths_from_folder(release)
    parts = (paths.video_model, paths.text_encoder, release / "dp-calvin")
    assert paths_from_parts(*parts) == paths
    options = [
        "--video-model",
        str(parts[0]),
        "--text-encoder",
        str(parts[1]),
        "--policy",
        str(release / "svd-robot-calvin-ft"),
    ]
    assert main(["export", *options, "-o", str(release / "bundle")]) == 2


def test_a_folder_without_a_policy_is_said_to_have_none(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "run"
    empty.mkdir()
    options = [
        "--video-model",
        str(release / "svd-robot-calvin-ft"),
        "--text-encoder",
        str(release),
        "--policy",
        str(empty),
    ]
    assert main(["export", *options, "-o", str(tmp_path / "bundle")]) == 2
    assert f"{empty}: holds no policy. Pass the file" in capsys.readouterr().err


def test_two_parts_of_a_kind_leave_the_choice_to_the_user(release: Path) -> None:
    other = release / "svd-robot"
    other.mkdir()
    (other / "model_index.json").write_text('{"_class_name": "StableVideoDiffusionPipeline"}')
    assert "holds more than one video model (svd-robot, svd-robot-calvin-ft). Choose with --video-model" in refusal(
        release
    )


def test_snapshots_of_a_model_hub_are_found(small_copy: Path) -> None:
    snapshot = small_copy / "models--openai--clip-vit-base-patch32" / "snapshots" / "3d74acf"
    snapshot.parent.mkdir(parents=True)
    (small_copy / "clip").rename(snapshot)
    assert paths_from_folder(small_copy).text_encoder == snapshot


@pytest.mark.parametrize("pipeline", ["WanPipeline", "WanImageToVideoPipeline"])
def test_vpp2_is_recognized_by_its_video_model(release: Path, pipeline: str) -> None:
    edit_json(
        release / "svd-robot-calvin-ft" / "model_index.json", lambda config: config.update({"_class_name": pipeline})
    )
    message = refusal(release)
    assert "VPP2" in message and "Wan" in message
    (release / "svd-robot-calvin-ft").rename(release / "svd")
    assert "VPP2" in refusal(release) and "svd/model_index.json" in refusal(release)


def test_vpp2_is_recognized_by_its_text_encoder_and_policy(small_copy: Path) -> None:
    def target(_: Any, arguments: dict[str, Any]) -> None:
        arguments["model"]["_target_"] = "policy_models.VPP2_policy.VPP2_Policy"

    edit_policy(small_copy, target)
    assert "args.model._target_ is 'policy_models.VPP2_policy.VPP2_Policy'. This looks like VPP2" in refusal(small_copy)
    edit_json(small_copy / "clip" / "config.json", lambda config: config.update(model_type="umt5"))
    assert "VPP2" in refusal(small_copy)


def test_policies_of_lerobot_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"type": "smolvla", "input_features": {}}))
    assert "a LeRobot policy of type 'smolvla'" in refusal(tmp_path)


@pytest.mark.parametrize(
    "name", ["StableVideoDiffusionPipeline", "policy_models.VPP_policy.VPP_Policy", "clip_text_model", None, 3, ""]
)
def test_the_model_that_is_supported_is_not_foreign(name: Any) -> None:
    assert foreign_model(name) == ""


def test_an_unknown_folder_is_told_what_a_checkpoint_is(tmp_path: Path) -> None:
    assert "missing svd, clip, policy.pt. A checkpoint folder holds" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("file", "said"), [("__0_0.distcp", "dcp_to_torch"), ("zero_to_fp32.py", "zero_to_fp32.py . policy.pt")]
)
def test_a_policy_in_shards_is_told_how_to_join_them(release: Path, tmp_path: Path, file: str, said: str) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / file).write_bytes(b"x")
    with pytest.raises(CheckpointError, match="in shards") as error:
        paths_from_parts(release / "svd-robot-calvin-ft", release / "clip-vit-base-patch32", run)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("part", "said"), [("svd", "This is the video model alone"), ("clip", "the text encoder alone")]
)
def test_one_part_is_not_taken_for_a_checkpoint(small_checkpoint: Path, part: str, said: str) -> None:
    message = refusal(small_checkpoint / part)
    assert "missing" in message and said in message and "--policy" in message
