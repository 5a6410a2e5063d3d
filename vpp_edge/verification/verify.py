"""Verify a bundle: compare it with the observations it keeps, a checkpoint, another bundle or a golden .npz file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.bundle.certificate import SegmentError, certificate_from_json
from vpp_edge.bundle.manifest import Bundle, is_bundle
from vpp_edge.bundle.reference import Reference, references_from_arrays
from vpp_edge.bundle.tensor_check import TensorCheck, check_tensors
from vpp_edge.errors import BadInputError
from vpp_edge.files.foreign import foreign_content
from vpp_edge.files.json_file import read_json_file
from vpp_edge.number_range import COUNT, SEED
from vpp_edge.runtime.policy.edge_policy import EdgePolicy
from vpp_edge.verification.bundles import compare_bundles
from vpp_edge.verification.policy_outputs import kept_references, limits_from_manifest, outputs_from_sample


@dataclass(frozen=True)
class VerifyOptions:
    """What to compare a bundle with, and how to run it.

    Attributes:
        reference: a checkpoint folder, another bundle of the same policy, or a golden .npz file; None: the
            observations that the bundle keeps.
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

    def load(self, path: Path) -> EdgePolicy:
        """A bundle on the engine of these options."""
        return EdgePolicy.load(path, self.backend, threads=self.threads, provider=self.provider)


@dataclass(frozen=True)
class Verification:
    """Result of verifying a bundle.

    Attributes:
        files: how many files match the manifest.
        certificate_problems: errors in the parity certificate that are over their limit.
        checks: every tensor of every case; empty where nothing was run.
        physical: errors of the actions in the units of the hand; against another bundle only.
        notes: how the other bundle differs besides its precision.
    """

    files: int
    certificate_problems: list[str]
    checks: list[TensorCheck]
    physical: tuple[SegmentError, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return all(c.passed for c in self.checks) and not self.certificate_problems

    def to_json(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "files_verified": self.files,
            "certificate_problems": self.certificate_problems,
            "checks": [c.to_json() for c in self.checks],
            "physical": [asdict(s) for s in self.physical],
            "notes": list(self.notes),
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
    files = len(bundle.manifest.files)
    if options.reference is not None and is_bundle(options.reference):
        found = compare_bundles(bundle, Bundle(options.reference), options.load)
        return Verification(
            files=files,
            certificate_problems=problems,
            checks=found.checks,
            physical=found.physical,
            notes=found.notes,
        )
    checks = [] if options.hashes_only else _run_checks(path, options)
    return Verification(files=files, certificate_problems=problems, checks=checks)


def _run_checks(path: Path, options: VerifyOptions) -> list[TensorCheck]:
    with options.load(path) as policy:
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
    return _check_references(policy, kept_references(policy.bundle))


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
        if not arrays or not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise BadInputError(f"{path}: {foreign_content(path) or 'holds no arrays; expected an .npz file'}")
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        found = foreign_content(path, zipped=True) or f"not readable as .npz ({error})"
        raise BadInputError(f"{path}: {found}") from error
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


def _check_references(policy: EdgePolicy, references: Mapping[str, Reference]) -> list[TensorCheck]:
    checks, limits = [], limits_from_manifest(policy.bundle.manifest)
    for case, reference in references.items():
        checks += check_tensors(case, outputs_from_sample(policy, reference.sample), reference.outputs, limits)
    return checks


def _instructions_from_spec(golden: Path) -> list[str]:
    path = golden.with_name("spec.json")
    try:
        return [str(case[2]) for case in read_json_file(path, f"the instructions of {golden.name}")["cases"]]
    except (KeyError, IndexError, TypeError) as error:
        raise BadInputError(f"{path}: must hold the instructions of {golden.name} as cases[i][2] ({error})") from error
