"""Compare two bundles of one policy, such as INT8 with float32: each stage alone, the whole chain, and the actions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from vpp_edge.bundle.certificate import ALONE, END_TO_END, SegmentError, physical_errors
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.tensor_check import TensorCheck, check_tensors
from vpp_edge.bundle.tolerances import PRECISIONS
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.policy.edge_policy import EdgePolicy
from vpp_edge.spec.sample import Sample
from vpp_edge.spec.stage_inputs import Arrays, stage_inputs
from vpp_edge.verification.policy_outputs import kept_references, limits_from_manifest, outputs_from_sample


@dataclass(frozen=True)
class BundleComparison:
    """How far a bundle is from another one.

    Attributes:
        checks: of every observation, each stage on the other's inputs, and tokens and actions of the whole chain.
        physical: errors of the actions of the whole chain, in the units of the hand.
        notes: what else differs between the two.
    """

    checks: list[TensorCheck]
    physical: tuple[SegmentError, ...]
    notes: tuple[str, ...]


def compare_bundles(bundle: Bundle, other: Bundle, load: Callable[[Path], EdgePolicy]) -> BundleComparison:
    """Runs both on the observations that the first one keeps, with the same noise; one is loaded at a time.

    Args:
        other: the reference.
        load: opens a bundle on the engine to compare with.

    Raises:
        BadInputError: the two are not of the same policy, or take other inputs.
        BundleError: one is damaged, or the first keeps no observations.
    """
    notes = differences(bundle, other)
    other.verify_all()
    samples = [r.sample for r in kept_references(bundle).values()]
    with load(other.path) as policy:
        expected = [_outputs_and_inputs(policy, sample) for sample in samples]
    lower = max(bundle, other, key=lambda b: PRECISIONS.index(b.manifest.precision))
    limits, checks, actions = limits_from_manifest(lower.manifest), [], []
    with load(bundle.path) as policy:
        for i, (sample, (reference, inputs)) in enumerate(zip(samples, expected, strict=True)):
            alone = {n: a for stage, given in inputs.items() for n, a in policy.run_stage(stage, given).items()}
            checks += check_tensors(f"{i} {ALONE}", alone, reference, limits)
            outputs = outputs_from_sample(policy, sample)
            chained = {name: outputs[name] for name in ("tokens", "actions")}
            checks += check_tensors(f"{i} {END_TO_END}", chained, reference, limits)
            actions.append(outputs["actions"])
    physical = physical_errors(bundle.manifest.policy, actions, [reference["actions"] for reference, _ in expected])
    return BundleComparison(checks=checks, physical=physical, notes=notes)


def differences(bundle: Bundle, other: Bundle) -> tuple[str, ...]:
    """What differs between two bundles of one policy besides their precision, for people.

    Raises:
        BadInputError: neither checkpoint nor specification is the same, or a stage has another signature.
    """
    specs = (asdict(bundle.manifest.policy), asdict(other.manifest.policy))
    fields = [n for n in specs[0] if n != "notes" and specs[0][n] != specs[1][n]]
    settings = [f"{name}: {_short(specs[0][name])} and {_short(specs[1][name])}" for name in fields]
    parts = list(_different_parts(bundle, other))
    if parts and settings:
        raise BadInputError(
            f"{bundle.path} and {other.path} are bundles of different policies: they differ in the trained "
            f"{', '.join(parts)}, and in {'; '.join(settings)}. Compare bundles that were exported from one checkpoint"
        )
    for name, stage in bundle.manifest.stages.items():
        theirs = other.stage(name)
        if (stage.inputs, stage.outputs) != (theirs.inputs, theirs.outputs):
            raise BadInputError(
                f"stage {name} of {bundle.path} and of {other.path} take or give other tensors, so they cannot be "
                f"compared: {'; '.join(settings) or 'export both with this version'}"
            )
    trained = [f"they were exported from different checkpoints (another {', '.join(parts)})"] if parts else []
    return (*trained, *(f"they differ in {setting}" for setting in settings))


def _different_parts(bundle: Bundle, other: Bundle) -> Iterator[str]:
    """Parts of the checkpoint whose weights are not known to be the same."""
    for part, words in (("video_model", "video model"), ("text_encoder", "text encoder"), ("policy", "policy")):
        ours, theirs = (_weights(b, part) for b in (bundle, other))
        if not ours or ours != theirs:
            yield words


def _weights(bundle: Bundle, part: str) -> list[str]:
    """Hashes of the weight files of a part, whatever their names; none where the manifest does not state them."""
    stated = bundle.manifest.provenance.get("checkpoint_sha256")
    files = stated.get(part) if isinstance(stated, dict) else None
    return sorted(map(str, files.values())) if isinstance(files, dict) else []


def _outputs_and_inputs(policy: EdgePolicy, sample: Sample) -> tuple[Arrays, dict[str, Arrays]]:
    outputs = outputs_from_sample(policy, sample)
    text = policy.text_inputs(sample.instruction)
    return outputs, stage_inputs(policy.spec, sample, text, outputs)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
