"""Where an ONNX file comes from, written into it: a stray file can be traced to its bundle, checkpoint and exporter.

Nothing here varies from one export of a checkpoint to the next, so that equal exports stay equal files.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vpp_edge import __version__
from vpp_edge.bundle.manifest import ORIGIN
from vpp_edge.checkpoint.choices import Choices

PRECISION = f"{ORIGIN}precision"


def bundle_id(checkpoint: dict[str, dict[str, str]], choices: Choices) -> str:
    """The name of everything exported from this checkpoint with these choices, in any precision: 16 hex digits.

    Args:
        checkpoint: as `exporter.checkpoint_hashes`.
    """
    known = json.dumps([checkpoint, asdict(choices)], sort_keys=True)
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def write_origin(graph: Path, stage: str, provenance: dict[str, Any]) -> None:
    """Writes bundle, checkpoint, stage, precision and version of this package into a graph's `metadata_props`.

    Args:
        provenance: that of the manifest.
    """
    import onnx

    model: Any = onnx.load(graph, load_external_data=False)
    facts = {
        "bundle": provenance["id"],
        "policy_sha256": next(iter(provenance["checkpoint_sha256"]["policy"].values())),
        "stage": stage,
        "precision": "fp32",
        "version": __version__,
    }
    onnx.helper.set_model_props(model, {f"{ORIGIN}{name}": value for name, value in facts.items()})
    graph.write_bytes(model.SerializeToString())
