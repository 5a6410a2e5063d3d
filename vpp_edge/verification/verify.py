"""Verify a bundle: compare what it computes with kept observations, with a checkpoint or with a golden .npz file."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.bundle.certificate import certificate_from_json
from vpp_edge.bundle.manifest import PARITY_NAME, Bundle, Manifest
from vpp_edge.bundle.reference import Reference, references_from_arrays
from vpp_edge.bundle.tensor_check import TensorCheck, check_tensors
from vpp_edge.bundle.tolerances import TOLERANCES, Limit
from vpp_edge.errors import BadInputError, BundleError
from vpp_edge.number_range import COUNT, SEED
from vpp_edge.runtime.policy.edge_policy import EdgePolicy
from vpp_edge.spec.sample import Sample


@dataclass(frozen=True)
class VerifyOptions:
    """What to compare a bundle with, and how to run it.

    Attributes:
        reference: a checkpoint folder or a golden .npz file; None: the observations that the bundle keeps.
        hashes_only: check files and certificate, run nothing.
        backend, provider, threads: as for `EdgePolicy.load`.
        samples: random observations to run against a checkpoint.
        seed: of those observations.
    """

    reference: Path | None = None
    hashes_only: bool = False
    backend: str = "onnxruntime"
    provider: str | None = None
    threads: int | None = None
    samples: int = 2
    seed: int = 1

    def __post_init__(self) -> None:
        COUNT.check("samples", self.samples)
        SEED.check("seed", self.seed)


@dataclass(frozen=True)
class Verification:
    """Result of verifying a bundle.

    Attributes:
        files: how many files match the manifest.
        certificate_problems: errors in the parity certificate that are over their limit.
        checks: every tensor of every case; empty where nothing was run.
    """

    files: int
    certificate_problems: list[str]
    checks: list[TensorCheck]

    @property
    def passed(self) -> bool:
        return all(c.passed for c in self.checks) and not self.certificate_problems

    def to_json(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "files_verified": self.files,
            "certificate_problems": self.certificate_problems,
            "checks": [c.to_json() for c in self.checks],
        }


def verify_bundle(path: Path, options: VerifyOptions) -> Verification:
    """Checks the hash of every file and the certificate, then runs the bundle against its reference.

    Raises:
        BundleError: the bundle is damaged, or it keeps no readable observations.
        BadInputError: the reference or the backend cannot be used.
    """
    bundle = Bundle(path)
    bundle.verify_all()
    problems = certificate_from_json(bundle.manifest.certificate).problems()
    checks = [] if options.hashes_only else _run_checks(path, options)
    return Verification(files=len(bundle.manifest.files), certificate_problems=problems, checks=checks)


def _run_checks(path: Path, options: VerifyOptions) -> list[TensorCheck]:
    with EdgePolicy.load(path, options.backend, threads=options.threads, provider=options.provider) as policy:
        if options.reference is None:
            return verify_kept(policy)
        if not options.reference.is_dir():
            return verify_golden(policy, options.reference)
        with EdgePolicy.load(path, "torch", checkpoint=options.reference) as eager:
            return verify_checkpoint(policy, eager, options.samples, options.seed)


def verify_kept(policy: EdgePolicy) -> list[TensorCheck]:
    """Repeats the observations that the bundle keeps and compares with the reference outputs kept at export.

    Raises:
        BundleError: the bundle keeps none, or they are not readable.
    """
    content = io.BytesIO(policy.bundle.open_verified(PARITY_NAME))
    try:
        with np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        instructions = [str(text) for text in arrays.pop("instructions")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise BundleError(f"{PARITY_NAME}: not readable as observations ({error}). Export the bundle again.") from error
    return _check_references(policy, references_from_arrays(arrays, instructions, PARITY_NAME))


def verify_golden(policy: EdgePolicy, path: Path) -> list[TensorCheck]:
    """Runs every case of a golden .npz file through a bundle and compares text, tokens and actions.

    Args:
        path: a file in the layout of `vpp_edge.bundle.reference`. Where it holds no instructions they are read from
            `spec.json` in the same folder (`cases[i][2]`).

    Raises:
        BadInputError: the file or an array is missing, or an array has another shape than the policy's.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError) as error:
        raise BadInputError(f"{path}: not readable as .npz ({error})") from error
    if "instructions" in arrays:
        instructions = [str(text) for text in arrays.pop("instructions")]
    else:
        instructions = _instructions_from_spec(path)
    return _check_references(policy, references_from_arrays(arrays, instructions, str(path)))


def verify_checkpoint(policy: EdgePolicy, eager: EdgePolicy, samples: int, seed: int) -> list[TensorCheck]:
    """Runs random observations through a bundle and through the eager policy it was exported from.

    Args:
        policy: the bundle on the backend under test.
        eager: the same bundle on backend `torch`.
    """
    from vpp_edge.export.samples import random_samples

    checks, limits = [], limits_from_manifest(policy.bundle.manifest)
    for i, sample in enumerate(random_samples(policy.spec, samples, seed)):
        outputs, expected = (outputs_from_sample(one, sample) for one in (policy, eager))
        checks += check_tensors(str(i), outputs, expected, limits)
    return checks


def outputs_from_sample(policy: EdgePolicy, sample: Sample) -> dict[str, np.ndarray]:
    """`text_hidden`, `goal`, `tokens` and `actions` of one inference with the noise of the sample."""
    policy.instruct(sample.instruction)
    text_hidden, goal = policy.text
    out = policy.infer(sample.frames, sample.proprio, video_noise=sample.video_noise, action_noise=sample.action_noise)
    return {"text_hidden": text_hidden, "goal": goal, "tokens": out.tokens, "actions": out.actions}


def limits_from_manifest(manifest: Manifest) -> dict[str, Limit]:
    """By tensor: our own table rather than the bundle's; only INT8's error budget is read from the certificate."""
    limits = dict(TOLERANCES[manifest.precision])
    if manifest.precision == "int8":
        limits["actions"] = certificate_from_json(manifest.certificate).limits["actions"]
    return limits


def _check_references(policy: EdgePolicy, references: Mapping[str, Reference]) -> list[TensorCheck]:
    checks, limits = [], limits_from_manifest(policy.bundle.manifest)
    for case, reference in references.items():
        checks += check_tensors(case, outputs_from_sample(policy, reference.sample), reference.outputs, limits)
    return checks


def _instructions_from_spec(golden: Path) -> list[str]:
    path = golden.with_name("spec.json")
    try:
        return [str(case[2]) for case in json.loads(path.read_text(encoding="utf-8"))["cases"]]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise BadInputError(f"{path}: must hold the instructions of {golden.name} as cases[i][2] ({error})") from error
