"""Errors that kernels are known for, planted into each: the cases must notice every one of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from interpreted_kernels import Interpreter

from vpp_edge.kernels.catalogue import OPERATIONS, operation

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
HALF = ".to(tl.float16).to(tl.float32)"

# operation -> what is wrong -> (what stands in kernel.py, what is planted in its place)
PLANTED: dict[str, dict[str, tuple[str, str]]] = {
    "temporal_attention": {
        "wrong stride": ("frame * key_frame", "frame * query_frame"),
        "heads and positions swapped": ("position * value_position + head", "position * value_head + head"),
        "no mask of keys": ("tl.where(seen, scores, float('-inf'))", "scores"),
        "no mask of loads": ("tl.load(v_at, mask=inside, other=0.0)", "tl.load(v_at)"),
        "no mask of stores": (
            "tl.store(o_at, mixed.to(tl.float16), mask=inside)", "tl.store(o_at, mixed.to(tl.float16))",
        ),
        "fp16 statistics": (
            "tl.dot(q, tl.permute(k, (0, 2, 1))) * score_scale",
            f"(tl.dot(q, tl.permute(k, (0, 2, 1))) * score_scale){HALF}",
        ),
    },
    "spatial_attention": {
        "wrong stride": ("v_at += ahead * value_token", "v_at += ahead * key_token"),
        "no mask of keys": ("if not WHOLE:", "if WHOLE:"),
        "no mask of loads": ("v = tl.load(v_at, mask=inside, other=0.0)", "v = tl.load(v_at)"),
        "no mask of stores": (
            "tl.store(o_at, mixed.to(tl.float16), mask=row_inside)", "tl.store(o_at, mixed.to(tl.float16))",
        ),
        "fp16 statistics": (
            "scores = tl.dot(q, tl.trans(k)) * score_scale", f"scores = (tl.dot(q, tl.trans(k)) * score_scale){HALF}",
        ),
        "the sum does not follow a new maximum": ("total = total * fade +", "total = total +"),
        "the result does not follow a new maximum": ("v, mixed * fade[:, None])", "v, mixed)"),
    },
    "text_attention": {
        "wrong stride": ("row[:, None] * tokens_row", "row[:, None] * keys_row"),
        "no mask of channels": (
            "tl.load(x_at, mask=(row < count)[:, None] & inside, other=0.0)",
            "tl.load(x_at, mask=(row < count)[:, None], other=0.0)",
        ),
        "no mask of stores": ("mask=(row < count)[:, None] & used[None, :])", "mask=used[None, :])"),
        "one softmax for all heads": ("(local // WORDS == head) & used", "used"),
        "fp16 statistics": ("scores = scores * LOG2_E", f"scores = (scores * LOG2_E){HALF}"),
        "a head of the second tile": ("tl.program_id(0) * (HEADS * WORDS)", "tl.program_id(0) * (HEADS * WORDS - 1)"),
    },
    "perceiver_attention": {
        "wrong stride": ("token[:, None].to(tl.int64) * features_token", "token[:, None].to(tl.int64) * carried_row"),
        "no mask of features": ("(start + token < count)[None, :], scores * LOG2_E", "True, scores * LOG2_E"),
        "no mask of the own": ("tl.where(own < queries, among, float('-inf'))", "among"),
        "no mask of stores": (
            "(mixed_left * share).to(tl.float16), mask=row_inside & (left < width))",
            "(mixed_left * share).to(tl.float16), mask=row_inside)",
        ),
        "fp16 statistics": ("scores * LOG2_E, float", f"(scores * LOG2_E){HALF}, float"),
        "the own are forgotten": ("total = tl.sum(tl.exp2(among - largest[:, None]), axis=1)", "total = largest * 0.0"),
        "a part of the width is forgotten": ("tl.dot(q_right, tl.trans(x_right), scores)", "scores"),
        "own weights of an old maximum": ("tl.exp2(among - largest[:, None]) * share", "tl.exp2(among) * share"),
    },
    "group_norm_silu": {
        "wrong stride": ("x_image_at + row * x_pixel", "x_image_at + row * out_pixel"),
        "no mask of pixels": ("tl.where(present, values - origin[None, :], 0.0)", "values - origin[None, :]"),
        "no mask of stores": (
            "tl.store(at, stored(values, inverse_step), mask=present)", "tl.store(at, stored(values, inverse_step))",
        ),
        "fp16 statistics": ("tl.where(member, middle, center)", f"tl.where(member, middle{HALF}, center)"),
        "a mean of means": ("spread + count * apart * apart", "spread"),
        "the time embedding is forgotten": ("mean = origin + shift", "mean = origin"),
        "only the first stretch counts": ("(stretch < stretches) & inside", "(stretch < 1) & inside"),
        "the origin of another image": ("tl.load(x + image * x_image + x_at", "tl.load(x + x_at + x_pixel"),
        "int8 rounds towards zero": (
            "stored(values, inverse_step)",
            "(values * inverse_step if inverse_step else values).to(out.dtype.element_ty)",
        ),
    },
    "residual_layer_norm": {
        "wrong stride": ("update + row * update_row", "update + row * residual_row"),
        "no mask of channels": ("tl.where(inside, total - mean, 0.0)", "total - mean"),
        "no mask of stores": (
            "tl.store(stream + row * stream_row + column, total.to(tl.float16), mask=inside)",
            "tl.store(stream + row * stream_row + column, total.to(tl.float16), mask=row < rows)",
        ),
        "fp16 statistics": (
            "mean = tl.sum(total, axis=1, keep_dims=True)", f"mean = tl.sum(total, axis=1, keep_dims=True){HALF}",
        ),
        "the norm of the rounded stream": (
            "    if normed is not None:", f"    total = total{HALF}\n    if normed is not None:",
        ),
        "positions by pixel": ("row // tokens % frames", "row % frames"),
        "positions always stay": ("if not KEEP:", "if False:"),
        "the blend's shares swapped": (
            "share * other + (1.0 - share) * total", "(1.0 - share) * other + share * total",
        ),
    },
    "geglu": {
        "wrong stride": ("gate + row * gate_row", "gate + row * value_row"),
        "no mask of stores": (
            "stored(result, inverse_step), mask=inside)", "stored(result, inverse_step), mask=row < rows)",
        ),
        "value and gate swapped": ("v * 0.5 * g * (1.0 + tl.erf(g", "v * 0.5 * g * (1.0 + tl.erf(v"),
        "the approximate GELU": (
            "(1.0 + tl.erf(g * 0.7071067811865476))",
            "(2.0 - 2.0 / (1.0 + tl.exp(1.5957691216 * (g + 0.044715 * g * g * g))))",
        ),
    },
}  # fmt: skip
for planted in PLANTED.values():
    planted["32-bit addresses"] = ("tl.int64", "tl.int32")
EVERY = [(name, wrong) for name, planted in PLANTED.items() for wrong in planted]


def test_every_kernel_has_errors_planted() -> None:
    assert set(PLANTED) == set(OPERATIONS)
    for planted in PLANTED.values():
        assert {"wrong stride", "no mask of stores"} <= set(planted)


@pytest.mark.parametrize(("name", "wrong"), EVERY, ids=[f"{n}-{w.replace(' ', '-')}" for n, w in EVERY])
def test_a_planted_error_is_noticed(interpreter: Interpreter, tmp_path: Path, name: str, wrong: str) -> None:
    right, planted = (text.replace("'", '"') for text in PLANTED[name][wrong])
    source = (KERNELS / name / "kernel.py").read_text(encoding="utf-8")
    assert right in source, "the kernel was changed: plant the error anew"
    path = tmp_path / f"{name}.py"
    path.write_text(source.replace(right, planted), encoding="utf-8")
    cases = [case for case in operation(name).cases if case.interpreted]
    cases.sort(key=lambda case: math.prod(size for size in case.sizes.values() if size))  # the cheap ones first
    noticed = any(
        not found.within
        for case in cases
        for layout in ("gaps", "packed", "far")
        for found in interpreter.check(name, case.name, layout, path)
    )
    assert noticed, f"no case of {name} notices: {wrong}"
