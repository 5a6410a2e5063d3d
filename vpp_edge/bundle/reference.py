"""Observations with the outputs that a reference computed from them, and their .npz layout.

The layout is that of golden files and of a bundle's `parity.npz`: for case i `i/frames`, `i/video_noise`,
`i/action_noise`, `i/proprio` (policies with a state only), `i/text_hidden`, `i/text_embed` (the goal), `i/tokens` and
`i/actions`. `instructions` holds one text per case; golden files may keep them in a `spec.json` instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vpp_edge.errors import BadInputError
from vpp_edge.spec.sample import Sample

# Our name of an output -> its name in the file.
_OUTPUTS = {"text_hidden": "text_hidden", "goal": "text_embed", "tokens": "tokens", "actions": "actions"}


@dataclass(frozen=True)
class Reference:
    """One observation and what the reference computed from it.

    Attributes:
        outputs: `text_hidden`, `goal`, `tokens` and `actions`; a golden file may lack some.
        inputs: by stage, each stage fed with reference outputs; empty for a golden file.
    """

    sample: Sample
    outputs: Mapping[str, np.ndarray]
    inputs: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)


def arrays_from_references(references: Sequence[Reference]) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, by name."""
    arrays: dict[str, np.ndarray] = {"instructions": np.array([r.sample.instruction for r in references])}
    for i, reference in enumerate(references):
        for name in ("frames", "video_noise", "action_noise", "proprio"):
            if (array := getattr(reference.sample, name)) is not None:
                arrays[f"{i}/{name}"] = array
        arrays |= {f"{i}/{stored}": reference.outputs[name] for name, stored in _OUTPUTS.items()}
    return arrays


def references_from_arrays(
    arrays: Mapping[str, np.ndarray], instructions: Sequence[str], source: str
) -> dict[str, Reference]:
    """The cases of an .npz file, by number as text.

    Args:
        instructions: by case.
        source: where the arrays come from, for messages.

    Raises:
        BadInputError: there is no case, or a case has no noise or no instruction.
    """
    found = {}
    for case in sorted({name.split("/")[0] for name in arrays if name.endswith("/frames")}):
        own = {name.split("/", 1)[1]: array for name, array in arrays.items() if name.startswith(f"{case}/")}
        try:
            sample = Sample(
                instruction=instructions[int(case)],
                frames=own["frames"],
                video_noise=own["video_noise"],
                action_noise=own["action_noise"],
                proprio=own.get("proprio"),
            )
        except KeyError as error:
            raise BadInputError(f"{source}: case {case} has no {error.args[0]}") from error
        except (ValueError, IndexError) as error:
            raise BadInputError(f"{source}: case {case!r} has no instruction ({error})") from error
        found[case] = Reference(sample, {name: own[stored] for name, stored in _OUTPUTS.items() if stored in own})
    if not found:
        raise BadInputError(f"{source}: holds no case (no `0/frames`)")
    return found
