"""Typical kernel bugs, planted into each kernel: the cases must detect every one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from interpreted_kernels import Interpreter

from vpp_edge.kernels.catalogue import OPERATIONS, load_operation

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
HALF = ".to(tl.float16).to(tl.float32)"

# operation -> bug -> (text in kernel.py, its replacement)
PLANTED: dict[str, dict[str, tuple[str, str]]] = {
    "temporal_attention": {
        "wrong stride": ("frame * key_frame", "frame * query_frame"),
        "heads and positions swapped": ("position * value_position + head", "position * value_head + head"),
        "unmasked keys": ("tl.where(seen, scores, float('-inf'))", "scores"),
        "unmasked loads": ("tl.load(v_at, mask=inside, other=0.0)", "tl.load(v_at)"),
        "unmasked stores": (
            "tl.store(o_at, mixed.to(tl.float16), mask=inside)", "tl.store(o_at, mixed.to(tl.float16))",
        ),
        "fp16 statistics": (
            "tl.dot(q, tl.permute(k, (0, 2, 1))) * score_scale",
            f"(tl.dot(q, tl.permute(k, (0, 2, 1))) * score_scale){HALF}",
        ),
    },
    "spatial_attention": {
        "wrong stride": ("v_at += ahead * value_token", "v_at += ahead * key_token"),
        "unmasked keys": ("if not WHOLE:", "if WHOLE:"),
        "unmasked loads": ("v = tl.load(v_at, mask=inside, other=0.0)", "v = tl.load(v_at)"),
        "unmasked stores": (
            "tl.store(o_at, mixed.to(tl.float16), mask=row_inside)", "tl.store(o_at, mixed.to(tl.float16))",
        ),
        "fp16 statistics": (
            "scores = tl.dot(q, tl.trans(k)) * score_scale", f"scores = (tl.dot(q, tl.trans(k)) * score_scale){HALF}",
        ),
        "sum not rescaled to the new maximum": ("total = total * rescale +", "total = total +"),
        "result not rescaled to the new maximum": ("v, mixed * rescale[:, None])", "v, mixed)"),
    },
    "text_attention": {
        "wrong stride": ("row[:, None] * tokens_row", "row[:, None] * keys_row"),
        "unmasked channels": (
            "tl.load(x_at, mask=(row < count)[:, None] & inside, other=0.0)",
            "tl.load(x_at, mask=(row < count)[:, None], other=0.0)",
        ),
        "unmasked stores": ("mask=(row < count)[:, None] & used[None, :])", "mask=used[None, :])"),
        "one softmax over all heads": ("(local // WORDS == head) & used", "used"),
        "fp16 statistics": ("scores = scores * LOG2_E", f"scores = (scores * LOG2_E){HALF}"),
        "wrong head in second tile": ("tl.program_id(0) * (HEADS * WORDS)", "tl.program_id(0) * (HEADS * WORDS - 1)"),
    },
    "perceiver_attention": {
        "wrong stride": ("token[:, None].to(tl.int64) * features_token", "token[:, None].to(tl.int64) * carried_row"),
        "unmasked features": ("(start + token < count)[None, :], scores * LOG2_E", "True, scores * LOG2_E"),
        "unmasked own scores": ("tl.where(own < queries, own_logits, float('-inf'))", "own_logits"),
        "unmasked stores": (
            "(mixed_left * inverse_total).to(tl.float16), mask=row_inside & (left < width))",
            "(mixed_left * inverse_total).to(tl.float16), mask=row_inside)",
        ),
        "fp16 statistics": ("scores * LOG2_E, float", f"(scores * LOG2_E){HALF}, float"),
        "own scores left out of the sum": (
            "total = tl.sum(tl.exp2(own_logits - running_max[:, None]), axis=1)", "total = running_max * 0.0",
        ),
        "second part of the width left out": ("tl.dot(q_right, tl.trans(x_right), scores)", "scores"),
        "own weights without the maximum": (
            "tl.exp2(own_logits - running_max[:, None]) * inverse_total", "tl.exp2(own_logits) * inverse_total",
        ),
    },
    "group_norm_silu": {
        "wrong stride": ("x_image_at + row * x_pixel", "x_image_at + row * out_pixel"),
        "unmasked pixels": ("tl.where(present, values - origin[None, :], 0.0)", "values - origin[None, :]"),
        "unmasked stores": (
            "tl.store(at, cast_output(values, inverse_step), mask=present)",
            "tl.store(at, cast_output(values, inverse_step))",
        ),
        "fp16 statistics": ("tl.where(member, group_mean, center)", f"tl.where(member, group_mean{HALF}, center)"),
        "variance between channels left out": ("m2 + count * delta * delta", "m2"),
        "time embedding left out": ("mean = origin + shift", "mean = origin"),
        "only the first segment summed": ("(segment < segments) & inside", "(segment < 1) & inside"),
        "origin of another image": ("tl.load(x + image * x_image + x_at", "tl.load(x + x_at + x_pixel"),
        "int8 rounds towards zero": (
            "cast_output(values, inverse_step)",
            "(values * inverse_step if inverse_step else values).to(out.dtype.element_ty)",
        ),
    },
    "residual_layer_norm": {
        "wrong stride": ("update + row * update_row", "update + row * residual_row"),
        "unmasked channels": ("tl.where(inside, total - mean, 0.0)", "total - mean"),
        "unmasked stores": (
            "tl.store(stream + row * stream_row + column, total.to(tl.float16), mask=inside)",
            "tl.store(stream + row * stream_row + column, total.to(tl.float16), mask=row < rows)",
        ),
        "fp16 statistics": (
            "mean = tl.sum(total, axis=1, keep_dims=True)", f"mean = tl.sum(total, axis=1, keep_dims=True){HALF}",
        ),
        "norm of the rounded stream": (
            "    if normed is not None:", f"    total = total{HALF}\n    if normed is not None:",
        ),
        "positions indexed by pixel": ("row // tokens % frames", "row % frames"),
        "positions always kept": ("if not KEEP:", "if False:"),
        "blend weights swapped": (
            "share * other + (1.0 - share) * total", "(1.0 - share) * other + share * total",
        ),
    },
    "geglu": {
        "wrong stride": ("gate + row * gate_row", "gate + row * value_row"),
        "unmasked stores": (
            "cast_output(result, inverse_step), mask=inside)", "cast_output(result, inverse_step), mask=row < rows)",
        ),
        "value and gate swapped": ("v * 0.5 * g * (1.0 + tl.erf(g", "v * 0.5 * g * (1.0 + tl.erf(v"),
        "approximate GELU": (
            "(1.0 + tl.erf(g * 0.7071067811865476))",
            "(2.0 - 2.0 / (1.0 + tl.exp(1.5957691216 * (g + 0.044715 * g * g * g))))",
        ),
    },
}  # fmt: skip
for bugs in PLANTED.values():
    bugs["32-bit addresses"] = ("tl.int64", "tl.int32")
EVERY = [(name, bug) for name, bugs in PLANTED.items() for bug in bugs]


def test_every_kernel_has_planted_errors() -> None:
    assert set(PLANTED) == set(OPERATIONS)
    for bugs in PLANTED.values():
        assert {"wrong stride", "unmasked stores"} <= set(bugs)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bug"), EVERY, ids=[f"{n}-{b.replace(' ', '-')}" for n, b in EVERY])
def test_a_planted_error_is_detected(interpreter: Interpreter, tmp_path: Path, name: str, bug: str) -> None:
    original, replacement = (text.replace("'", '"') for text in PLANTED[name][bug])
    source = (KERNELS / name / "kernel.py").read_text(encoding="utf-8")
    assert original in source, "the kernel was changed: adapt the planted error"
    path = tmp_path / f"{name}.py"
    path.write_text(source.replace(original, replacement), encoding="utf-8")
    cases = [case for case in load_operation(name).cases if case.interpreted]
    cases.sort(key=lambda case: math.prod(size for size in case.sizes.values() if size))  # cheapest first
    detected = any(
        not result.within
        for case in cases
        for layout in ("gaps", "packed", "far")
        for result in interpreter.check(name, case.name, layout, path)
    )
    assert detected, f"no case of {name} detects: {bug}"
