"""Ranges of INT8 activations: the largest magnitude that INT8 represents, from tensors of many observations.

Three methods, all symmetric. `max`: nothing is clipped. `percentile`: that share of the values is not clipped.
`entropy`: the threshold that keeps the distribution of the rounded values closest to the original (Kullback-Leibler
divergence; Migacz, "8-bit inference with TensorRT", GTC 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vpp_edge.bundle.quantization import INT8_LEVELS, METHODS
from vpp_edge.errors import BadInputError

BINS = 2048
SMALLEST = 1e-6  # for a tensor that was zero in every observation
_TENSOR_BYTES = 1 << 30  # of activations fetched from the engine at a time


def histograms(
    session: Any, tensors: Mapping[str, int], largest: Mapping[str, float], feeds: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """(BINS,) counts of magnitudes from 0 to the largest, by tensor.

    Args:
        session: onnxruntime.InferenceSession with the tensors among its outputs.
        tensors: bytes by name; they are fetched a gigabyte at a time, which takes more inferences.
    """
    found = {name: np.zeros(BINS, np.int64) for name in tensors}
    for names in _portions(tensors):
        for feed in feeds:
            made = [name for name in names if name not in feed]
            arrays = dict(zip(made, session.run(made, dict(feed)) if made else [], strict=True))
            for name in names:
                top = max(largest[name], SMALLEST)
                array = arrays[name] if name in arrays else feed[name]
                found[name] += np.histogram(np.abs(array), BINS, (0, top))[0]
    return found


def _portions(tensors: Mapping[str, int]) -> Iterator[list[str]]:
    portion: list[str] = []
    size = 0
    for name, count in tensors.items():
        if portion and size + count > _TENSOR_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(name)
        size += count
    if portion:
        yield portion


def range_from_histogram(counts: np.ndarray, largest: float, method: str, percentile: float = 99.99) -> float:
    """The range of one tensor.

    Args:
        counts: (BINS,) of magnitudes from 0 to `largest`.
        method: one of METHODS.
        percentile: share of the values, in percent, that is not clipped; for method `percentile`.

    Raises:
        BadInputError: an unknown method, or a percentile outside (0, 100].
    """
    if method not in METHODS:
        raise BadInputError(f"unknown range method {method!r}; expected one of {', '.join(METHODS)}")
    if not 0 < percentile <= 100:
        raise BadInputError(f"percentile {percentile:g} must be above 0 and at most 100")
    largest = max(largest, SMALLEST)
    if method == "max" or not counts.any():
        return largest
    if method == "percentile":
        covered = np.cumsum(counts) / counts.sum()
        return float(largest * (np.searchsorted(covered, percentile / 100 - 1e-12) + 1) / len(counts))
    return float(largest * _entropy_cut(counts) / len(counts))


def _entropy_cut(counts: np.ndarray) -> int:
    """How many bins are kept: the cut with the least divergence between the clipped distribution and its INT8 rounding.

    The lowest bin counts as much as its neighbour, as in NVIDIA's calibrator: zeros are exact at every cut, and a peak
    of them (after a ReLU or GEGLU, in attention) would otherwise dominate the divergence.
    """
    counts = np.concatenate([counts[1:2], counts[1:]])
    levels = INT8_LEVELS + 1
    cuts = range(levels, len(counts) + 1, max(1, len(counts) // 256))
    return min(cuts, key=lambda cut: _divergence(counts, cut, levels))


def _divergence(counts: np.ndarray, cut: int, levels: int) -> float:
    reference = counts[:cut].astype(np.float64)
    edges = np.linspace(0, cut, levels + 1).round().astype(int)
    sums = np.add.reduceat(reference, edges[:-1])
    filled = np.add.reduceat((reference > 0).astype(np.float64), edges[:-1])
    spread = np.repeat(np.divide(sums, filled, out=np.zeros_like(sums), where=filled > 0), np.diff(edges))
    rounded = np.where(reference > 0, spread, 0)
    reference[-1] += counts[cut:].sum()  # clipped values land on the last level
    p, q = reference / max(reference.sum(), 1), rounded / max(rounded.sum(), 1)
    seen = p > 0
    return float(np.sum(p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-12))))


def smoothing_factors(inputs: np.ndarray, weights: np.ndarray, alpha: float) -> np.ndarray:
    """(C,) SmoothQuant factors (arXiv 2211.10438, equation 4): max|x|**alpha / max|w|**(1 - alpha).

    Args:
        inputs: (C,) largest magnitude per channel of a Linear's input.
        weights: (C,) the same of the weights that the channel is multiplied with.
        alpha: how much of the difficulty moves from inputs to weights, 0 to 1.
    """
    smallest = 1e-5
    return np.asarray(np.maximum(inputs, smallest) ** alpha / np.maximum(weights, smallest) ** (1 - alpha))
