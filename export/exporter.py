"""Export: in, the paths of a trained policy; out, a verified bundle folder, or nothing.

Everything is written into a hidden folder beside the target and renamed as the last step, so an interruption, a full
disk or a failed parity check leaves no half bundle.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vpp_edge.checkpoint.files import CheckpointPaths
from vpp_edge.checkpoint.reader import Checkpoint, Choices, read_checkpoint
from vpp_edge.errors import BadInputError
from vpp_edge.export.approximations import measured_approximations
from vpp_edge.export.onnx_writer import write_onnx
from vpp_edge.export.parity import ParityCheck, references_from_policy
from vpp_edge.export.samples import random_samples
from vpp_edge.export.stages import Stage, stages_from_policy
from vpp_edge.export.tokenizer import load_tokenizer, write_tokenizer
from vpp_edge.manifest import MANIFEST_NAME, Manifest, StageRecord, file_record
from vpp_edge.model.policy import policy_from_checkpoint
from vpp_edge.progress import ProgressCallback, ignore_progress

# (stage of the progress display, seconds on two cores for a small policy)
PROGRESS_STAGES = (
    ("read", 5.0), ("reference", 8.0), ("text", 5.0), ("perceive", 32.0), ("act", 38.0), ("write", 2.0),
)  # fmt: skip
_LIBRARIES = ("vpp-edge", "torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Attributes:
        choices: what the checkpoint does not tell.
        parity_samples: random observations that every stage is compared on.
        seed: of those.
        overwrite: replace an existing bundle.
    """

    choices: Choices = field(default_factory=Choices)
    parity_samples: int = 2
    seed: int = 0
    overwrite: bool = False


def export_bundle(
    paths: CheckpointPaths,
    target: Path,
    options: ExportOptions = ExportOptions(),
    report: ProgressCallback = ignore_progress,
) -> Manifest:
    """Exports a trained policy and verifies it against the eager model on the spot.

    Args:
        paths: the three parts of the checkpoint.
        target: the bundle folder to make.
        report: called with (stage, fraction), stages as in PROGRESS_STAGES.

    Raises:
        CheckpointError: the checkpoint is unsafe, incomplete or of another model.
        CheckFailedError: an exported stage does not match the model.
        BadInputError: the target exists, or the disk is full.
    """
    check_target(target, options.overwrite)
    report("read", 0)
    checkpoint = read_checkpoint(paths, options.choices)
    with _staging_folder(target) as staging:
        (staging / "onnx").mkdir()
        stages, certificate = _export_stages(checkpoint, staging, options, report)
        report("write", 0)
        manifest = _manifest(checkpoint, staging, stages, certificate, options)
        _write_synced(staging / MANIFEST_NAME, json.dumps(manifest.to_json(), indent=1))
        _replace(staging, target, options.overwrite)
    return manifest


def check_target(target: Path, overwrite: bool) -> None:
    """Raises BadInputError when a bundle cannot be written to `target`."""
    if target.exists() and not overwrite:
        raise BadInputError(f"{target} exists. Choose another folder, or pass --overwrite to replace that bundle.")
    if (
        target.exists()
        and any(target.iterdir() if target.is_dir() else [target])
        and not (target / MANIFEST_NAME).is_file()
    ):
        raise BadInputError(f"{target} is not a bundle; --overwrite replaces bundles only. Choose another folder.")


def _export_stages(
    checkpoint: Checkpoint, staging: Path, options: ExportOptions, report: ProgressCallback
) -> tuple[list[Stage], dict[str, Any]]:
    tokenizer = load_tokenizer(checkpoint.paths.text_encoder)
    write_tokenizer(tokenizer, staging / "tokenizer.json")
    policy = policy_from_checkpoint(checkpoint)
    report("reference", 0)
    samples = random_samples(checkpoint.spec, options.parity_samples, options.seed)
    references = references_from_policy(policy, checkpoint.spec, tokenizer, samples)
    approximations = measured_approximations(checkpoint, policy, references)
    check = ParityCheck(references)
    stages = list(stages_from_policy(policy, checkpoint.spec))
    for stage in stages:
        report(stage.name, 0)
        graph, _ = write_onnx(stage, staging / "onnx")
        gc.collect()  # the traced program holds gigabytes in cycles at full size
        report(stage.name, 0.8)
        check.check_stage(stage, graph)
    certificate = check.certificate()
    if approximations is not None:
        certificate["approximations"] = approximations
    return stages, certificate


def _manifest(
    checkpoint: Checkpoint, staging: Path, stages: list[Stage], certificate: dict[str, Any], options: ExportOptions
) -> Manifest:
    files = {str(p.relative_to(staging).as_posix()): file_record(p) for p in sorted(staging.rglob("*")) if p.is_file()}
    records = {}
    for stage in stages:
        graph, weights = f"onnx/{stage.name}.onnx", f"onnx/{stage.name}.onnx.data"
        records[stage.name] = StageRecord(
            stage.name, graph, weights if weights in files else None, "fp32", stage.inputs, stage.outputs
        )
    return Manifest(checkpoint.spec, records, files, "tokenizer.json", _provenance(checkpoint, options), certificate)


def _provenance(checkpoint: Checkpoint, options: ExportOptions) -> dict[str, Any]:
    parts = asdict(checkpoint.paths)
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {name: _version(name) for name in _LIBRARIES},
        "checkpoint": {name: str(path.resolve()) for name, path in parts.items()},
        "checkpoint_sha256": {name: _fingerprint(path) for name, path in parts.items()},
        "options": asdict(options),
    }


def _fingerprint(path: Path) -> dict[str, str]:
    """SHA-256 of the weight files of one part of a checkpoint, by name."""
    files = (
        [path] if path.is_file() else sorted(p for p in path.rglob("*.safetensors") if "image_encoder" not in p.parts)
    )
    return {p.name if p == path else p.relative_to(path).as_posix(): file_record(p).sha256 for p in files}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@contextmanager
def _staging_folder(target: Path) -> Iterator[Path]:
    """A hidden folder beside `target`, gone afterwards unless it was renamed; a full disk becomes a BadInputError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        yield staging
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            free = shutil.disk_usage(target.parent).free >> 20
            raise BadInputError(
                f"no space left for {target} ({free} MiB free after cleaning up is too little). Nothing was written."
            ) from error
        raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _replace(staging: Path, target: Path, overwrite: bool) -> None:
    """Renames the finished folder into place; an old bundle steps aside first and goes only after that."""
    staging.chmod(0o755)
    if not (overwrite and target.exists()):
        staging.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
    target.rename(old / target.name)
    try:
        staging.rename(target)
    except OSError:
        (old / target.name).rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
