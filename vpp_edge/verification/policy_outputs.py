"""What a verification compares: the outputs of a policy for an observation, the observations a bundle keeps, limits."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from vpp_edge.bundle.certificate import certificate_from_json
from vpp_edge.bundle.manifest import PARITY_NAME, Bundle, Manifest
from vpp_edge.bundle.reference import Reference, references_from_arrays
from vpp_edge.bundle.tolerances import TOLERANCES, Limit
from vpp_edge.errors import BundleError
from vpp_edge.runtime.policy.edge_policy import EdgePolicy
from vpp_edge.spec.sample import Sample


def outputs_from_sample(policy: EdgePolicy, sample: Sample) -> dict[str, np.ndarray]:
    """`text_hidden`, `goal`, `tokens` and `actions` of one inference with the noise of the sample."""
    policy.instruct(sample.instruction)
    text_hidden, goal = policy.text
    out = policy.infer(sample.frames, sample.proprio, video_noise=sample.video_noise, action_noise=sample.action_noise)
    return {"text_hidden": text_hidden, "goal": goal, "tokens": out.tokens, "actions": out.actions}


def kept_references(bundle: Bundle) -> dict[str, Reference]:
    """The observations that a bundle keeps, with their float32 outputs, by number as text.

    Raises:
        BundleError: it keeps none, or they are not readable.
    """
    content = io.BytesIO(bundle.open_verified(PARITY_NAME))
    try:
        with np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        instructions = [str(text) for text in arrays.pop("instructions")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise BundleError(f"{PARITY_NAME}: not readable as observations ({error}). Export the bundle again.") from error
    return references_from_arrays(arrays, instructions, PARITY_NAME)


def limits_from_manifest(manifest: Manifest) -> dict[str, Limit]:
    """By tensor: our own table rather than the bundle's; only INT8's error budget is read from the certificate."""
    limits = dict(TOLERANCES[manifest.precision])
    if manifest.precision == "int8":
        limits["actions"] = certificate_from_json(manifest.certificate).limits["actions"]
    return limits
