"""Format a Prediction as text; every table is labelled as predicted and not measured."""

from __future__ import annotations

import textwrap

from vpp_edge.profile.roofline.prediction import Prediction
from vpp_edge.wording import counted

_LABEL = "predicted, not measured"
_WIDTH = 118


def lines_of_prediction(prediction: Prediction, title: str, top: int) -> list[str]:
    """Tables of stages, parts and the `top` longest layers, then the assumptions with their sources."""
    return [
        *_stages(prediction, title),
        *_parts(prediction),
        *(_layers(prediction, top) if top else ()),
        *_assumptions(prediction),
    ]


def _stages(prediction: Prediction, title: str) -> list[str]:
    precisions = "/".join(dict.fromkeys(prediction.precision.values()))
    lines = [
        f"{title} on {prediction.device.name} in {precisions}, {counted(prediction.cameras, 'camera')}: {_LABEL}",
        f"{'stage':<10} {'precision':<10} {'GOP':>10} {'in INT8':>8} {'weights MB':>11} {'activations MB':>15} "
        f"{'kernels':>8} {'floor ms':>10} {'predicted ms':>13}",
    ]
    for name, s in prediction.stages().items():
        precision = prediction.precision.get(name, "")
        if prediction.exported.get(name, precision) != precision:
            precision += " *"
        work = f"{s.operations / 1e9:>10.3f} {s.int8_share:>8.1%}"
        moved = f"{s.weight_bytes / 1e6:>11.1f} {s.activation_bytes / 1e6:>15.1f}"
        lines.append(
            f"{name:<10} {precision:<10} {work} {moved} {s.kernels:>8} {s.floor_ms:>10.2f} {s.predicted_ms:>13.2f}"
        )
    lines.append("One inference is perceive + act; text runs once per instruction. Bytes are those moved.")
    if dict(prediction.exported) != dict(prediction.precision):
        exported = ", ".join(sorted(set(prediction.exported.values())))
        lines.append(f"* the bundle was exported in {exported}; this is what it would cost in the named precision.")
    for stage, unknown in prediction.unknown.items():
        if unknown:
            ops = ", ".join(f"{op} x {count}" for op, count in unknown.items())
            lines.append(f"NOT COUNTED in {stage} (bytes only): {ops}")
    return lines


def _parts(prediction: Prediction) -> list[str]:
    lines = [
        "",
        f"Parts: {_LABEL}",
        f"{'stage':<10} {'part':<28} {'GOP':>10} {'GOP per view':>13} {'in INT8':>8} {'floor ms':>10} "
        f"{'predicted ms':>13}  mostly waits for",
    ]
    for (stage, part), s in prediction.parts().items():
        per_view = f"{s.operations / 1e9 / prediction.cameras:.3f}" if stage == "perceive" else ""
        lines.append(
            f"{stage:<10} {part or '(none)':<28} {s.operations / 1e9:>10.3f} {per_view:>13} {s.int8_share:>8.1%} "
            f"{s.floor_ms:>10.2f} {s.predicted_ms:>13.2f}  {s.bound}"
        )
    return lines


def _layers(prediction: Prediction, top: int) -> list[str]:
    total_ms = prediction.stages()["total"].predicted_ms
    lines = [
        "",
        f"Layers of longest predicted time: {_LABEL}",
        f"{'ms':>8} {'share':>6} {'GOP':>9} {'kernels':>8}  {'kind':<10} {'waits for':<10} layer",
    ]
    for (stage, path, kind), s in prediction.layers()[:top]:
        share = s.predicted_ms / total_ms if total_ms else 0.0
        lines.append(
            f"{s.predicted_ms:>8.3f} {share:>6.1%} {s.operations / 1e9:>9.3f} {s.kernels:>8}  {kind:<10} {s.bound:<10} "
            f"{stage}: {path or '(none)'}"
        )
    return lines


def _sparse(prediction: Prediction) -> list[str]:
    share = prediction.stages()["total"].sparse_share
    if not share:
        return []
    fp16, int8 = (prediction.device.sparse_tops(precision) for precision in ("fp16", "int8"))
    return [
        f"Twice as much, {fp16:g} / {int8:g} TOP/s in FP16 / INT8, where weights are 2:4 sparse: "
        f"{share:.1%} of the products."
    ]


def _assumptions(prediction: Prediction) -> list[str]:
    device = prediction.device
    lines = [
        "",
        f"Peaks of {device.name}: {device.fp32_tops:g} / {device.fp16_tops:g} / {device.int8_tops:g} TOP/s dense in "
        f"FP32 / FP16 / INT8, {device.bandwidth_gb_s:g} GB/s.",
        *textwrap.wrap(device.source + ".", _WIDTH, initial_indent="  ", subsequent_indent="  "),
        *_sparse(prediction),
        f"Floor: these peaks in full. Prediction ({_LABEL}): these shares of them.",
    ]
    for a in prediction.assumptions():
        share = f"{a['share']:.0%}" if "share" in a else f"{a['microseconds']:.1f} us"
        head = " ".join(part for part in (a["class"], a["precision"]) if part)
        lines += textwrap.wrap(f"{head} {share}: {a['source']}.", _WIDTH, initial_indent="  ", subsequent_indent="    ")
    return lines
