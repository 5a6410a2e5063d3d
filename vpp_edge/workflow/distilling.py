"""Make a student of a trained policy: a checkpoint in the same format whose action head samples in fewer steps.

In: a checkpoint and recordings of the robot. Out: a checkpoint folder that `export` takes like any other, with a card
of what the student kept, measured on recordings that it was not trained on.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from vpp_edge.bundle.manifest import file_record
from vpp_edge.calibration.datasets import Recording, open_dataset
from vpp_edge.calibration.samples import split_recordings
from vpp_edge.checkpoint import names
from vpp_edge.checkpoint.parts import DIFFUSERS_STEM, TRANSFORMERS_STEM
from vpp_edge.checkpoint.paths import CheckpointPaths
from vpp_edge.checkpoint.policy_file import load_policy_file, save_policy_file
from vpp_edge.checkpoint.reader import Checkpoint, Choices, read_checkpoint
from vpp_edge.checkpoint.weights import Tensors
from vpp_edge.errors import BadInputError
from vpp_edge.executor.interface import Executor
from vpp_edge.export.distill.head import Sampler, distill_head
from vpp_edge.export.distill.loop import Schedule, Trainer
from vpp_edge.export.distill.measures import DRAWS, HeadMeasures, measure_head
from vpp_edge.export.distill.student_sampler import student_sampler
from vpp_edge.export.distill.teacher import SHARD
from vpp_edge.files.json_file import read_json_file
from vpp_edge.files.partial import partial_folder
from vpp_edge.files.paths import data_files
from vpp_edge.files.writing import write_whole
from vpp_edge.model.policy import policy_from_checkpoint
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.wording import counted
from vpp_edge.workflow.distill_options import DistillOptions, check_target, work_folder
from vpp_edge.workflow.teaching import Teaching

_SETTINGS = "settings.json"


@dataclass(frozen=True)
class StudentCard:
    """Where a student comes from and what it kept; stored in its arguments as `distilled`.

    Attributes:
        teacher_sha256: of the teacher's policy file.
        sigmas: the student's noise levels.
        prefix_pulls: how often one of its steps pulls to a prefix.
        data, held_out: what it was trained and measured on, in words.
        measures: on the held-out observations.
    """

    teacher_sha256: str
    head_steps: int
    sigmas: tuple[float, ...]
    prefix_pulls: int
    training: dict[str, Any]
    data: str
    held_out: str
    measures: HeadMeasures

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "sigmas": list(self.sigmas)}


def distill(
    paths: CheckpointPaths,
    target: Path,
    options: DistillOptions,
    report: ProgressCallback = ignore_progress,
    executor: Executor | None = None,
) -> StudentCard:
    """Makes a student of a checkpoint and writes it to `target`.

    Args:
        executor: computes what the teacher sees; None: this process does.

    Raises:
        CheckpointError: the checkpoint is not usable.
        BadInputError: the target exists, the data set does not fit the policy, or settings changed before a resume.
        VppEdgeError: a worker died or failed.
    """
    check_target(target, options.resume)
    report("read", 0)
    training, judging = _split(options)
    checkpoint = read_checkpoint(paths, Choices())
    work = work_folder(target)
    work.mkdir(parents=True, exist_ok=True)
    settings = _settings(checkpoint, options)
    _keep_settings(work, settings)
    teaching = Teaching(
        checkpoint=checkpoint,
        policy=policy_from_checkpoint(checkpoint),
        dataset=options.dataset,
        folder=work,
        executor=executor,
        stride=None,
        report=report,
    )
    spec = checkpoint.spec
    seen = teaching.observations("teacher", training, options.observations, options.seed).seen(spec)
    held_out = teaching.observations("held-out", judging, options.held_out, options.seed + 1).seen(spec)
    teacher = teaching.policy.head
    horizon, of = spec.action.horizon, Sampler(spec.sigmas, spec.sampler)
    to = student_sampler(teacher, of, seen, steps=options.head_steps, horizon=horizon, seed=options.seed)
    student = distill_head(
        teacher,
        seen,
        of=of,
        to=to,
        horizon=horizon,
        schedule=Schedule(steps=options.steps, rate=options.rate, batch=options.batch),
        trainer=Trainer(folder=work, seed=options.seed, report=report),
    )
    report("measure", 0)
    measures = measure_head(teacher, student, held_out, of=of, to=to, horizon=horizon, seed=options.seed + 2)
    card = StudentCard(
        teacher_sha256=settings["teacher_sha256"],
        head_steps=options.head_steps,
        sigmas=to.sigmas,
        prefix_pulls=to.prefix_pulls,
        training={key: settings[key] for key in ("steps", "batch", "rate", "seed")},
        data=_words(training, len(seen)),
        held_out=_words(judging, len(held_out)),
        measures=measures,
    )
    report("write", 0)
    _write(checkpoint, student.state_dict(), card, target)
    shutil.rmtree(work)
    return card


def _settings(checkpoint: Checkpoint, options: DistillOptions) -> dict[str, Any]:
    """What must not change between the parts of one run."""
    return {
        "teacher_sha256": file_record(checkpoint.paths.policy).sha256,
        "dataset": str(options.dataset.resolve()),
        "views": list(options.views),
        "head_steps": options.head_steps,
        "observations": options.observations,
        "held_out": options.held_out,
        "shard": SHARD,
        "steps": options.steps,
        "batch": options.batch,
        "rate": options.rate,
        "seed": options.seed,
    }


def _keep_settings(work: Path, settings: dict[str, Any]) -> None:
    path = work / _SETTINGS
    if not path.exists():
        write_whole(path, json.dumps(settings, indent=1))
        return
    before = read_json_file(path, "the settings of an unfinished distillation")
    changed = [name for name, value in settings.items() if before.get(name) != value]
    if changed:
        words = ", ".join(f"{name} was {before.get(name)}, is {settings[name]}" for name in changed)
        raise BadInputError(f"{work}: begun with other settings ({words}); repeat those, or remove the folder")


def _split(options: DistillOptions) -> tuple[list[Recording], list[Recording]]:
    """The recordings to train on and those to measure on."""
    training, judging = split_recordings(open_dataset(options.dataset.absolute()).recordings)
    return [r.with_views(options.views) for r in training], [r.with_views(options.views) for r in judging]


def _words(recordings: Sequence[Recording], count: int) -> str:
    return f"{counted(count, 'observation')} of {counted(len(recordings), 'recording')}"


def _write(checkpoint: Checkpoint, head: dict[str, Any], card: StudentCard, target: Path) -> None:
    """Writes the student: the weights that were read, a LoRA merged into them included, and a new policy file."""
    with partial_folder(target) as staging:
        student = staging / "student"
        video, text = checkpoint.paths.video_model, checkpoint.paths.text_encoder
        shutil.copytree(video, student / "svd", ignore=_left_out, copy_function=_link_or_copy)
        _write_part(video / "unet", student / "svd" / "unet", checkpoint.unet.tensors, DIFFUSERS_STEM)
        _write_part(video / "vae", student / "svd" / "vae", checkpoint.vae.tensors, DIFFUSERS_STEM)
        _write_part(text, student / "clip", checkpoint.text.tensors, TRANSFORMERS_STEM)
        _write_policy(checkpoint, head, card, student / "policy.safetensors")
        student.rename(target)


def _left_out(folder: str, entries: list[str]) -> list[str]:
    """What of a video model is written anew, and what at its top is no part of it, such as a LoRA."""
    if not (Path(folder) / "model_index.json").exists():
        return []
    return [name for name in entries if name in ("unet", "vae") or Path(name).suffix not in ("", ".json")]


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copy2(source, target)


def _write_part(source: Path, target: Path, tensors: Tensors, stem: str) -> None:
    """A model's configuration and tokenizer, copied, and its weights as they were used, in half where that is exact."""
    target.mkdir(parents=True)
    for file in data_files(source, "*"):
        if file.suffix in (".json", ".txt") and not file.name.startswith((stem, "adapter_")):
            shutil.copy2(file, target)
    halves = {name: tensor.half() for name, tensor in tensors.items()}
    exact = {name: half if torch.equal(half.float(), tensors[name]) else tensors[name] for name, half in halves.items()}
    save_file({name: tensor.contiguous() for name, tensor in exact.items()}, target / f"{stem}.safetensors")


def _write_policy(checkpoint: Checkpoint, head: dict[str, Any], card: StudentCard, path: Path) -> None:
    policy = load_policy_file(checkpoint.paths.policy)
    arguments = policy.arguments
    arguments["distilled"] = card.to_json()
    arguments["model"] |= {
        "num_sampling_steps": card.head_steps,
        "sigma_min": card.sigmas[-2] if card.head_steps > 1 else checkpoint.config.sampler.sigma_min,
        "sampler_type": "ddim",
    }
    # The unused ones are part of the format; one of them states a size.
    trained = {name: tensor for name, tensor in policy.tensors.items() if name in names.UNUSED_IN_FILE}
    trained |= {names.FORMER_PREFIX + name: tensor for name, tensor in checkpoint.former.items()}
    trained |= {names.HEAD_PREFIX + name: tensor for name, tensor in head.items()}
    save_policy_file(path, trained, arguments)


def measure_lines(measures: HeadMeasures) -> Iterator[str]:
    """The measures for people."""
    m = measures
    yield f"  actions, same noise  RMS {m.action_rms:.4f}, normalized; {m.action_rms_prefixed:.4f} under prefixes"
    yield f"  spread over noise    {m.student_spread:.4f}, the teacher's {m.teacher_spread:.4f}"
    yield f"  nearest chunk        that of the same noise, of {DRAWS}, in {100 * m.same_mode:.1f} %"
    yield f"  follows a prefix     {m.student_following:.2f}, the teacher {m.teacher_following:.2f}"
    yield f"  seam to a prefix     {m.student_seam:.4f}, the teacher's {m.teacher_seam:.4f}"
