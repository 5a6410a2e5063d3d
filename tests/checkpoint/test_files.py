"""Wrong files are detected before they are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vpp_edge.checkpoint.files import check_file, read_json
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import read_checkpoint
from vpp_edge.errors import CheckpointError

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 6094000000\n"
WEIGHTS = ("svd/unet", "svd/vae")
FILES = [
    "policy.pt",
    "svd/unet/diffusion_pytorch_model.safetensors",
    "svd/vae/diffusion_pytorch_model.safetensors",
    "clip/model.safetensors",
    "svd/unet/config.json",
    "clip/config.json",
    "svd/model_index.json",
    "svd/scheduler/scheduler_config.json",
]


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(paths_from_folder(folder))
    return str(error.value)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    ("damage", "said"), [("lfs", "a Git LFS pointer"), ("empty", "empty"), ("missing", "missing"), ("folder", "")]
)
def test_every_file_is_checked(small_copy: Path, file: str, damage: str, said: str) -> None:
    path = small_copy / file
    if damage == "lfs":
        path.write_bytes(LFS_POINTER)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        if damage == "folder":
            path.mkdir()
    message = refusal(small_copy)
    assert Path(file).name in message
    assert said in message


@pytest.mark.parametrize("file", [f for f in FILES if f.endswith(".safetensors")])
def test_truncated_weights_are_named(small_copy: Path, file: str) -> None:
    path = small_copy / file
    path.write_bytes(path.read_bytes()[:-10])
    message = refusal(small_copy)
    assert file in message
    assert "truncated or damaged" in message


@pytest.mark.parametrize("name", ["unet/model.safetensors.incomplete", "vae/x.part", "vae/weights.aria2"])
def test_an_unfinished_download_is_named(small_copy: Path, name: str) -> None:
    (small_copy / "svd" / name).write_bytes(b"half")
    message = refusal(small_copy)
    assert "unfinished download" in message
    assert name in message


def test_a_half_finished_policy_is_seen_beside_the_missing_one(small_copy: Path) -> None:
    (small_copy / "policy.pt").rename(small_copy / "policy.pt.incomplete")
    with pytest.raises(CheckpointError, match=r"unfinished download.*policy\.pt\.incomplete"):
        check_file(small_copy / "policy.pt", "the policy")


def test_weights_only_as_pickle_are_not_opened(small_copy: Path) -> None:
    folder = small_copy / "svd" / "unet"
    (folder / "diffusion_pytorch_model.safetensors").rename(folder / "diffusion_pytorch_model.bin")
    assert "weights only as pickle" in refusal(small_copy)


@pytest.mark.parametrize("shard", ["../../../../etc/passwd", "/etc/passwd", "sub/x.safetensors"])
def test_a_weight_index_may_not_leave_its_folder(small_copy: Path, shard: str) -> None:
    index = small_copy / "svd" / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": shard}}))
    assert "is not a file of this folder" in refusal(small_copy)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": 3}', '{"weight_map": {"a": 3}}', "[1]", "{"])
def test_a_damaged_weight_index_is_named(small_copy: Path, index: str) -> None:
    path = small_copy / "svd" / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    path.write_text(index)
    assert path.name in refusal(small_copy)


@pytest.mark.parametrize("text", ["{", "\xff", "[]", '"x"', "3"])
def test_damaged_json_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_json(path, "something")


@pytest.mark.parametrize(
    "config", ["{}", '{"block_out_channels": 3}', '{"_class_name": "UNetSpatioTemporalConditionModel"}']
)
def test_a_config_that_builds_no_such_model_is_an_error_of_the_checkpoint(small_copy: Path, config: str) -> None:
    (small_copy / "svd" / "unet" / "config.json").write_text(config)
    assert "svd/unet" in refusal(small_copy)


@pytest.mark.parametrize("content", ["{}", '{"model": {"vocab": {}}}', '{"model": 3}', '{"model": {"vocab": [1]}}'])
def test_a_tokenizer_without_its_pad_token_is_named(small_copy: Path, content: str) -> None:
    (small_copy / "clip" / "tokenizer.json").write_text(content)
    assert "do not give the id of its pad token" in refusal(small_copy)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"Entry not found", "the error message of a server"),
        ((16).to_bytes(8, "little") + b"{", "a safetensors file under another name; rename it to policy.safetensors"),
    ],
)
def test_what_stands_where_the_policy_should_be_is_named(small_copy: Path, start: bytes, said: str) -> None:
    (small_copy / "policy.pt").write_bytes(start)
    assert f"policy.pt: {said}" in refusal(small_copy)


def test_a_pickle_named_safetensors_is_recognized(small_copy: Path) -> None:
    (small_copy / "policy.pt").rename(small_copy / "policy.safetensors")
    assert "policy.safetensors: a PyTorch file under another name; rename it to policy.pt" in refusal(small_copy)


@pytest.mark.parametrize(
    "name", ["unet/diffusion_pytorch_model.safetensors.incomplete", "unet/config.json.part", ".cache/x.incomplete"]
)
def test_what_a_finished_download_left_behind_is_no_reason_to_refuse(small_copy: Path, name: str) -> None:
    path = small_copy / "svd" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"half")
    read_checkpoint(paths_from_folder(small_copy))


@pytest.mark.parametrize(
    "name",
    [
        "svd/unet/._a.ema.safetensors",
        "svd/unet/.cache/lora.safetensors",
        "._policy.pt",
        ".DS_Store",
        ".ipynb_checkpoints",
        "svd/._unet",
        "svd/unet/._config.json",
    ],
)
def test_hidden_files_are_passed_over(small_copy: Path, name: str) -> None:
    (small_copy / name).parent.mkdir(exist_ok=True)
    (small_copy / name).write_bytes(b"\0\5\x16\7")
    assert read_checkpoint(paths_from_folder(small_copy)).notes == ()


def test_a_byte_order_mark_is_no_part_of_a_configuration(small_copy: Path) -> None:
    path = small_copy / "svd" / "unet" / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    read_checkpoint(paths_from_folder(small_copy))
