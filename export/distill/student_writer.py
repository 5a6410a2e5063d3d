"""Write a student as a checkpoint in the trained format: in, its teacher and its own networks; out, a folder."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from vpp_edge.checkpoint import names
from vpp_edge.checkpoint.parts import DIFFUSERS_STEM, TRANSFORMERS_STEM, ModelPart
from vpp_edge.checkpoint.policy_file import load_policy_file, save_policy_file
from vpp_edge.checkpoint.reader import Checkpoint
from vpp_edge.checkpoint.weights import Tensors
from vpp_edge.files.partial import partial_folder
from vpp_edge.files.paths import data_files
from vpp_edge.files.writing import write_whole

_INDEX, _CONFIG = "model_index.json", "config.json"


@dataclass(frozen=True)
class Student:
    """A finished student.

    Attributes:
        unet, vae: configuration and weights of its video model.
        former, head: tensors without their prefix.
        model: what its arguments `model` state otherwise than its teacher's.
        card: where it comes from and what it kept, plain values; its arguments `distilled`.
    """

    unet: ModelPart
    vae: ModelPart
    former: Tensors
    head: Tensors
    model: dict[str, Any]
    card: dict[str, Any]


def write_student(teacher: Checkpoint, student: Student, target: Path) -> None:
    """Writes the checkpoint, whole or not at all: a student with the weights its teacher was read with.

    A LoRA merged into the teacher is part of them.
    """
    with partial_folder(target) as staging:
        folder = staging / "student"
        video, text = teacher.paths.video_model, teacher.paths.text_encoder
        shutil.copytree(video, folder / "svd", ignore=_left_out, copy_function=_link_or_copy)
        _write_part(video / "unet", folder / "svd" / "unet", student.unet, DIFFUSERS_STEM)
        _write_part(video / "vae", folder / "svd" / "vae", student.vae, DIFFUSERS_STEM)
        _name_vae(folder / "svd" / _INDEX, student.vae.config["_class_name"])
        _write_part(text, folder / "clip", teacher.text, TRANSFORMERS_STEM, same_config=True)
        _write_policy(teacher, student, folder / "policy.safetensors")
        folder.rename(target)


def _left_out(folder: str, entries: list[str]) -> list[str]:
    """What of a video model is written anew, and what at its top is no part of it, such as a LoRA."""
    if not (Path(folder) / _INDEX).exists():
        return []
    return [name for name in entries if name in ("unet", "vae") or Path(name).suffix not in ("", ".json")]


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copy2(source, target)


def _write_part(source: Path, target: Path, part: ModelPart, stem: str, same_config: bool = False) -> None:
    """A model's files and its weights, in half where that is exact.

    Args:
        same_config: its configuration is its source's; otherwise it is written from the part.
    """
    target.mkdir(parents=True)
    for file in data_files(source, "*"):
        if file.suffix in (".json", ".txt") and not file.name.startswith((stem, "adapter_")):
            shutil.copy2(file, target)
    if not same_config:
        write_whole(target / _CONFIG, json.dumps(part.config, indent=2) + "\n")
    tensors = {name: _half_if_exact(tensor.detach()).contiguous() for name, tensor in part.tensors.items()}
    save_file(tensors, target / f"{stem}.safetensors")


def _half_if_exact(tensor: torch.Tensor) -> torch.Tensor:
    half = tensor.half()
    return half if torch.equal(half.float(), tensor) else tensor


def _name_vae(index: Path, class_name: str) -> None:
    """Makes `model_index.json` name the class of the student's VAE."""
    text = index.read_text(encoding="utf-8")
    data = json.loads(text)
    if data.get("vae", [None, class_name])[-1] != class_name:
        index.unlink()  # it may be a link to the teacher's
        write_whole(index, json.dumps(data | {"vae": ["diffusers", class_name]}, indent=2) + "\n")


def _write_policy(teacher: Checkpoint, student: Student, path: Path) -> None:
    policy = load_policy_file(teacher.paths.policy)
    arguments = policy.arguments
    arguments["distilled"] = student.card
    arguments["model"] |= student.model
    # The unused ones are part of the format; one of them states a size.
    trained = {name: tensor for name, tensor in policy.tensors.items() if name in names.UNUSED_IN_FILE}
    trained |= {names.FORMER_PREFIX + name: tensor for name, tensor in student.former.items()}
    trained |= {names.HEAD_PREFIX + name: tensor for name, tensor in student.head.items()}
    save_policy_file(path, trained, arguments)
