"""Reads the external weights of an ONNX graph from verified data files, as arrays by name.

Engines get these arrays instead of file names, so that they use exactly the bytes that were hashed, copy nothing, and
do not depend on library versions that can load whole files from memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vpp_edge.errors import BundleError
from vpp_edge.runtime.policy.engines.onnx_scan import fields

# TensorProto.DataType of onnx.proto.
_TYPES = {
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
    10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64,
}  # fmt: skip
_MODEL_GRAPH, _GRAPH_INITIALIZER = 7, 5
_DIMS, _DATA_TYPE, _NAME, _EXTERNAL_DATA = 1, 2, 8, 13


@dataclass
class _Tensor:
    """The relevant fields of a TensorProto."""

    name: str = ""
    data_type: int = 0
    dims: list[int] = field(default_factory=list)
    external: dict[str, str] = field(default_factory=dict)


def external_weights(graph: str, model: bytes, files: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Read-only arrays by name, for every initializer of the main graph whose data is in a file.

    Args:
        graph: name of the model's file, for errors.
        model: its content, which has passed `check_external_data`.
        files: content of its data files by name (bytes or a memory map); must outlive the arrays.

    Raises:
        BundleError: a tensor is outside its file, has an unsupported type, or its size does not match its shape.
    """
    try:
        return {t.name: _array(graph, t, files) for t in _initializers(memoryview(model)) if t.external}
    except (ValueError, IndexError, KeyError) as error:
        raise BundleError(
            f"{graph}: an external weight cannot be read ({error}); rejected. Copy the bundle again."
        ) from error


def _initializers(model: memoryview) -> list[_Tensor]:
    graphs = [content for number, content in fields(model) if number == _MODEL_GRAPH and not isinstance(content, int)]
    return [
        _tensor(content)
        for graph in graphs
        for number, content in fields(graph)
        if number == _GRAPH_INITIALIZER and not isinstance(content, int)
    ]


def _tensor(message: memoryview) -> _Tensor:
    tensor = _Tensor()
    for number, value in fields(message):
        if isinstance(value, int):
            if number == _DATA_TYPE:
                tensor.data_type = value
            elif number == _DIMS:
                tensor.dims.append(value)
        elif number == _NAME:
            tensor.name = bytes(value).decode("utf-8")
        elif number == _DIMS:
            tensor.dims += _packed(value)
        elif number == _EXTERNAL_DATA:
            entry = {n: bytes(v).decode("utf-8") for n, v in fields(value) if not isinstance(v, int)}
            tensor.external[entry.get(1, "")] = entry.get(2, "")
    return tensor


def _packed(content: memoryview) -> list[int]:
    numbers, value, shift = [], 0, 0
    for byte in content:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(value)
            value, shift = 0, 0
    return numbers


def _array(graph: str, tensor: _Tensor, files: Mapping[str, Any]) -> np.ndarray:
    content = memoryview(files[tensor.external["location"]])
    if tensor.data_type not in _TYPES:
        raise BundleError(
            f"{graph}: weight {tensor.name!r} has ONNX data type {tensor.data_type}, which is not supported"
        )
    dtype = np.dtype(_TYPES[tensor.data_type])
    count, offset = math.prod(tensor.dims), int(tensor.external.get("offset", "0"))
    size = count * dtype.itemsize
    if int(tensor.external.get("length", size)) != size:
        raise ValueError(f"{tensor.name!r} has {tensor.external['length']} bytes, its shape {tensor.dims} needs {size}")
    if offset < 0 or size > len(content) - offset:
        raise ValueError(f"{tensor.name!r} ends beyond {tensor.external['location']}")
    array = np.frombuffer(content, dtype, count, offset).reshape(tensor.dims)
    return array if array.flags.aligned else array.copy()
