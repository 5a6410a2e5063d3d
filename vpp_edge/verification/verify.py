"""Verification of a bundle: in, a bundle and its reference; out, the error of every tensor against its tolerance."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.bundle.certificate import certificate_from_json
from vpp_edge.bundle.comparison import Comparison, compare
from vpp_edge.bundle.manifest import PARITY_NAME
from vpp_edge.bundle.tolerances import TOLERANCES, Limit
from vpp_edge.errors import BadInputError, BundleError
from vpp_edge.runtime.policy.edge_policy import EdgePolicy

# Names of a stage output in a golden file.
_GOLDEN = {"text_hidden": "text_hidden", "goal": "text_embed", "tokens": "tokens", "actions": "actions"}


@dataclass(frozen=True)
class Check:
    """One tensor of one case against its reference."""

    case: str
    tensor: str
    errors: Comparison
    limit: Limit

    @property
    def passed(self) -> bool:
        return self.limit.allows(self.errors)

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "tensor": self.tensor,
            "passed": self.passed,
            "limit": self.limit.to_json(),
            **self.errors.to_json(),
        }


def verify_golden(policy: EdgePolicy, path: Path) -> list[Check]:
    """Runs every case of a golden .npz through a bundle and compares text, tokens and actions.

    The file holds `i/frames`, `i/video_noise`, `i/action_noise`, `i/tokens`, `i/actions` and, for policies with a
    state, `i/proprio`; `i/text_hidden` and `i/text_embed` are compared with what the bundle makes of the instruction
    in `spec.json` beside it (`cases[i][2]`).

    Raises:
        BadInputError: the file or an array is missing or of another policy's shape.
    """
    golden, instructions = _read_golden(path)
    return _checks(policy, golden, instructions, str(path))


def _checks(
    policy: EdgePolicy, golden: Mapping[str, np.ndarray], instructions: Sequence[str], source: str
) -> list[Check]:
    checks, limits = [], limits_of(policy)
    for case in sorted({name.split("/")[0] for name in golden if name.endswith("/frames")}):
        arrays = {name.split("/", 1)[1]: a for name, a in golden.items() if name.startswith(f"{case}/")}
        policy.instruct(instructions[int(case)])
        try:
            out = policy.infer(
                arrays["frames"],
                arrays.get("proprio"),
                video_noise=arrays["video_noise"],
                action_noise=arrays["action_noise"],
            )
        except KeyError as error:
            raise BadInputError(f"{source}: case {case} has no {error.args[0]}") from error
        found = {"text_hidden": policy.text[0], "goal": policy.text[1], "tokens": out.tokens, "actions": out.actions}
        checks += [
            Check(case, name, compare(found[name], arrays[theirs]), limits[name])
            for name, theirs in _GOLDEN.items()
            if theirs in arrays
        ]
    if not checks:
        raise BadInputError(f"{source}: holds no case (no `0/frames`)")
    return checks


def verify_checkpoint(policy: EdgePolicy, eager: EdgePolicy, samples: int, seed: int) -> list[Check]:
    """Runs random observations through a bundle and through the eager policy it was exported from.

    Args:
        policy: the bundle on the backend to be verified.
        eager: the same bundle on backend `torch`.
    """
    from vpp_edge.export.samples import random_samples

    checks, limits = [], limits_of(policy)
    for i, sample in enumerate(random_samples(policy.spec, samples, seed)):
        found = []
        for one in (policy, eager):
            one.instruct(sample.instruction)
            out = one.infer(
                sample.frames, sample.proprio, video_noise=sample.video_noise, action_noise=sample.action_noise
            )
            found.append(
                {"text_hidden": one.text[0], "goal": one.text[1], "tokens": out.tokens, "actions": out.actions}
            )
        checks += [Check(str(i), name, compare(found[0][name], found[1][name]), limits[name]) for name in found[0]]
    return checks


def limits_of(policy: EdgePolicy) -> dict[str, Limit]:
    """By tensor. Our own table, not the bundle's word; only the error budget of INT8 is what its certificate states."""
    manifest = policy.bundle.manifest
    limits = dict(TOLERANCES[manifest.precision])
    if manifest.precision == "int8":
        limits["actions"] = certificate_from_json(manifest.certificate).limits["actions"]
    return limits


def verify_kept(policy: EdgePolicy) -> list[Check]:
    """Repeats the observations that the bundle keeps, with what the reference made of them at export.

    Raises:
        BundleError: the bundle keeps none, or they are not readable.
    """
    content = io.BytesIO(policy.bundle.open_verified(PARITY_NAME))
    try:
        with np.load(content, allow_pickle=False) as file:
            golden = {name: file[name] for name in file.files}
        instructions = [str(text) for text in golden.pop("instructions")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise BundleError(f"{PARITY_NAME}: not readable as observations ({error}). Export the bundle again.") from error
    return _checks(policy, golden, instructions, PARITY_NAME)


def _read_golden(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            golden = {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError) as error:
        raise BadInputError(f"{path}: not readable as .npz ({error})") from error
    if "instructions" in golden:
        return golden, [str(text) for text in golden.pop("instructions")]
    beside = path.with_name("spec.json")
    try:
        return golden, [str(case[2]) for case in json.loads(beside.read_text(encoding="utf-8"))["cases"]]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise BadInputError(f"{beside}: must hold the instructions of {path.name} as cases[i][2] ({error})") from error
