"""The INT8 calibration table, `calibration.json`: measurements of the matrix products of a bundle's graphs.

Calibration writes the table and export reads it. Tensors and nodes are identified by their names in the float32 graph
whose hash the table states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vpp_edge.bundle.separation import RecordingContent, dataset_sha256, recording_content_from_json
from vpp_edge.errors import BadInputError

SCHEMA_VERSION = 1
SWITCH = "int8?"  # prefix of the inputs of a switched graph, see export.precision.quantize
METHODS = ("max", "percentile", "entropy")
INT8_LEVELS = 127  # symmetric, so that zero is exact and no zero point is subtracted


@dataclass(frozen=True)
class Product:
    """A matrix product of a graph: Conv, Gemm or MatMul.

    Attributes:
        node: its name.
        layer: path of the module that it comes from, such as `reader.up.1.resnets.0.image.conv1`, or of the attention
            around it and `attend`. Products of one layer run in the same precision.
        macs: multiply-accumulates.
        activations: names of the operands that are computed at run time, one or two.
        weight: name of the operand that is a constant; None for the product of two activations.
        channels: axis of the input that the weight's input channels lie on, -1 for a Linear and 1 for a convolution;
            None for the product of two activations and for batched weights.
        reason: why it keeps its precision by default; "" if it may run in INT8.
    """

    node: str
    layer: str
    macs: int
    activations: tuple[str, ...]
    weight: str | None
    channels: int | None
    reason: str = ""


@dataclass(frozen=True)
class StageTable:
    """Measurements of one stage.

    Attributes:
        graph_sha256: of the float32 graph.
        ranges: largest magnitude that INT8 must represent, by tensor, of the smoothed graph.
        smoothing: by group of products that share inputs or weights, see `vpp_edge.export.precision.smoothing`; per
            channel what their inputs are divided by and their weights multiplied with.
        sensitivity: by layer, the relative RMS error of the actions when that layer alone runs in INT8.
    """

    graph_sha256: str
    ranges: Mapping[str, float]
    smoothing: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    sensitivity: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CalibrationTable:
    """Everything in `calibration.json`.

    Attributes:
        method: how ranges were determined, one of METHODS.
        alpha: SmoothQuant's migration strength; 0 is no smoothing.
        data: origin of the observations, for people.
        stages: by name.
        recordings: content of the recordings that the observations are from; None where it is not known, as in tables
            of earlier versions.
    """

    method: str
    alpha: float
    data: dict[str, Any]
    stages: Mapping[str, StageTable]
    recordings: tuple[RecordingContent, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, read back by `calibration_from_json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "method": self.method,
            "alpha": self.alpha,
            "data": self.data,
            "content": None if self.recordings is None else _content_json(self.recordings),
            "stages": {
                name: {
                    "graph_sha256": s.graph_sha256,
                    "sensitivity": dict(s.sensitivity),
                    "ranges": dict(s.ranges),
                    "smoothing": {k: list(v) for k, v in s.smoothing.items()},
                }
                for name, s in self.stages.items()
            },
        }


def calibration_from_json(data: Any) -> CalibrationTable:
    """The checked table from parsed JSON.

    Raises:
        BadInputError: another schema version, a field missing or of the wrong type, or a range that is not positive.
    """
    if not isinstance(data, dict) or data.get("schema_version") != SCHEMA_VERSION:
        raise BadInputError(
            f"not a calibration table of schema version {SCHEMA_VERSION}; run `vpp-edge calibrate` again"
        )
    try:
        stages = {str(name): _stage(s) for name, s in data["stages"].items()}
        table = CalibrationTable(
            method=str(data["method"]),
            alpha=_number(data["alpha"]),
            data=dict(data["data"].items()),
            stages=stages,
            recordings=_content(data.get("content")),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise BadInputError(
            f"the calibration table is incomplete or malformed ({type(error).__name__}: {error}); "
            "run `vpp-edge calibrate` again"
        ) from error
    if table.method not in METHODS:
        raise BadInputError(f"the calibration table names method {table.method!r}; expected one of {METHODS}")
    return table


def _content_json(recordings: tuple[RecordingContent, ...]) -> dict[str, Any]:
    return {"dataset_sha256": dataset_sha256(recordings), "recordings": [r.to_json() for r in recordings]}


def _content(data: Any) -> tuple[RecordingContent, ...] | None:
    return None if data is None else tuple(recording_content_from_json(r) for r in data["recordings"])


def _stage(data: dict[str, Any]) -> StageTable:
    numbers = {str(k): tuple(_positive(v) for v in s) for k, s in data["smoothing"].items()}
    return StageTable(
        graph_sha256=str(data["graph_sha256"]),
        ranges={str(k): _positive(v) for k, v in data["ranges"].items()},
        smoothing=numbers,
        sensitivity={str(k): _number(v) for k, v in data["sensitivity"].items()},
    )


def _positive(value: Any) -> float:
    if not _number(value) > 0:
        raise ValueError(f"{value!r} is not a positive number")
    return float(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ValueError(f"{value!r} is not a finite number of at least 0")
    return float(value)
