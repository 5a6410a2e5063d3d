"""Export a trained policy to a verified float32 bundle; no bundle is left if a check fails."""

from __future__ import annotations

import gc
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from vpp_edge.bundle.certificate import Certificate
from vpp_edge.bundle.manifest import STUDENT, Manifest, StageRecord, file_record
from vpp_edge.bundle.reference import Reference
from vpp_edge.bundle.tolerances import TOLERANCES
from vpp_edge.checkpoint.paths import CheckpointPaths
from vpp_edge.checkpoint.reader import Checkpoint, Choices, read_checkpoint
from vpp_edge.export.approximations import measured_approximations
from vpp_edge.export.bundle_writer import check_target, staging_folder, write_bundle
from vpp_edge.export.onnx_writer import write_onnx
from vpp_edge.export.origin import bundle_id, write_origin
from vpp_edge.export.parity import ParityCheck, references_from_policy
from vpp_edge.export.samples import random_samples
from vpp_edge.export.stages import stages_from_policy
from vpp_edge.export.tokenizer import load_tokenizer, write_tokenizer
from vpp_edge.files.paths import data_files
from vpp_edge.installing import installed_version
from vpp_edge.model.policy import policy_from_checkpoint
from vpp_edge.progress import ProgressCallback, ignore_progress
from vpp_edge.wording import counted

TOKENIZER_NAME = "tokenizer.json"
# (stage of the progress display, seconds on two cores for a small policy)
PROGRESS_STAGES = (
    ("read", 5.0),
    ("reference", 8.0),
    ("text", 5.0),
    ("perceive", 32.0),
    ("act", 38.0),
    ("write", 2.0),
)
_LIBRARIES = ("vpp-edge", "torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class ExportOptions:
    """How to export.

    Attributes:
        choices: settings that the checkpoint does not state.
        parity_samples: number of random observations that every stage is compared on.
        seed: of those observations.
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
    """Exports a trained policy and verifies every stage against the eager model.

    Args:
        paths: the three parts of the checkpoint.
        target: the bundle folder to create.
        report: called with (stage, fraction), stages as in PROGRESS_STAGES.

    Raises:
        CheckpointError: the checkpoint is unsafe, incomplete or of another model.
        CheckFailedError: an exported stage does not match the model.
        BadInputError: the target exists, or the disk is full.
    """
    check_target(target, options.overwrite)
    report("read", 0)
    checkpoint = read_checkpoint(paths, options.choices)
    with staging_folder(target) as staging:
        (staging / "onnx").mkdir()
        provenance = _provenance(checkpoint, options)
        records, references, certificate = _export_stages(
            checkpoint, staging=staging, options=options, provenance=provenance, report=report
        )
        report("write", 0)
        manifest = Manifest(
            policy=checkpoint.spec,
            stages=records,
            files={},
            tokenizer=TOKENIZER_NAME,
            provenance=provenance,
            certificate=certificate.to_json(),
        )
        return write_bundle(
            staging, target=target, manifest=manifest, references=references, overwrite=options.overwrite
        )


def _export_stages(
    checkpoint: Checkpoint,
    staging: Path,
    options: ExportOptions,
    provenance: dict[str, Any],
    report: ProgressCallback,
) -> tuple[dict[str, StageRecord], list[Reference], Certificate]:
    tokenizer = load_tokenizer(checkpoint.paths.text_encoder)
    write_tokenizer(tokenizer, staging / TOKENIZER_NAME)
    policy = policy_from_checkpoint(checkpoint)
    report("reference", 0)
    samples = random_samples(checkpoint.spec, options.parity_samples, options.seed)
    references = references_from_policy(policy, checkpoint.spec, tokenizer, samples)
    approximations = measured_approximations(checkpoint, policy, references)
    check = ParityCheck(references, TOLERANCES["fp32"])
    records = {}
    for stage in stages_from_policy(policy, checkpoint.spec):
        report(stage.name, 0)
        graph, weights = write_onnx(stage, staging / "onnx")
        write_origin(graph, stage.name, provenance)
        gc.collect()  # at full size the traced program holds gigabytes in reference cycles
        report(stage.name, 0.8)
        check.require_stage(stage, graph)
        records[stage.name] = StageRecord(
            name=stage.name,
            graph=f"onnx/{graph.name}",
            weights=f"onnx/{weights.name}" if weights.exists() else None,
            precision="fp32",
            inputs=stage.inputs,
            outputs=stage.outputs,
        )
    data = f"{counted(len(samples), 'random observation')}, seed {options.seed}"
    certificate = check.certificate(checkpoint.spec, "the eager float32 policy, same inputs and noise", data)
    return records, references, replace(certificate, approximations=approximations)


def _provenance(checkpoint: Checkpoint, options: ExportOptions) -> dict[str, Any]:
    hashes = checkpoint_hashes(checkpoint.paths)
    student = {} if checkpoint.card is None else {STUDENT: checkpoint.card}
    return {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {name: installed_version(name) for name in _LIBRARIES},
        "checkpoint": {name: str(path.resolve()) for name, path in checkpoint.paths.parts().items()},
        "checkpoint_sha256": hashes,
        "id": bundle_id(hashes, options.choices),
        "options": asdict(options),
        **student,
    }


def checkpoint_hashes(paths: CheckpointPaths) -> dict[str, dict[str, str]]:
    """SHA-256 of the weight files of each part of a checkpoint, as recorded in the manifest."""
    return {name: _fingerprint(path) for name, path in paths.parts().items()}


def _fingerprint(path: Path) -> dict[str, str]:
    """SHA-256 of the weight files of one part of a checkpoint, by name."""
    files = (
        [path]
        if path.is_file()
        else [p for p in data_files(path, "**/*.safetensors") if "image_encoder" not in p.parts]
    )
    return {p.name if p == path else p.relative_to(path).as_posix(): file_record(p).sha256 for p in files}
