"""Finds the names of all external data files that an ONNX graph refers to.

A graph is an untrusted file, and a tensor in it may name any path of this machine as its data. So the names are read
here, from the protobuf wire format, before an engine opens anything; the onnx package is not needed on a robot. Where
two parsers could disagree, this one rejects the graph or reports both readings.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Set
from dataclasses import dataclass

from vpp_edge.errors import BundleError

# Field numbers of onnx.proto that lead to a tensor's external_data, by message. Initializers of the main graph are
# separate: only they are passed to an engine as verified bytes; it would look up all others in the file system.
_CHILDREN: dict[str, dict[int, str]] = {
    "Model": {7: "MainGraph", 20: "TrainingInfo", 25: "Function"},
    "MainGraph": {1: "Node", 5: "Weight", 15: "SparseTensor"},
    "Weight": {13: "WeightEntry"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_KEY, _VALUE = 1, 2
_METADATA = 14  # of a Model


@dataclass(frozen=True)
class ExternalData:
    """Stated file names: of the main graph's initializers, and of all other tensors."""

    weights: Set[str]
    elsewhere: Set[str]


def check_external_data(graph: str, model: bytes, allowed: Set[str]) -> None:
    """Raises BundleError unless all external data of a model belongs to initializers and is in `allowed` files.

    Args:
        graph: name of the file, for errors.
        model: its content.
        allowed: file names without folder.
    """
    found = external_data(graph, model)
    foreign = sorted((found.weights - allowed) | found.elsewhere)
    if foreign:
        names = ", ".join(repr(name) for name in foreign[:3])
        files = ", ".join(sorted(allowed))
        rule = (
            f"only its initializers may refer to a file, and only to {files}" if allowed else "may not refer to files"
        )
        raise BundleError(
            f"{graph}: refers to weights in {names}, but {rule}; rejected. "
            "Export the bundle again from a checkpoint that you trust."
        )


def external_data(graph: str, model: bytes) -> ExternalData:
    """All files that tensors of a model name as their data, in graphs, nested graphs, functions and attributes.

    Raises:
        BundleError: the bytes are not a well-formed protobuf message.
    """
    weights: set[str] = set()
    elsewhere: set[str] = set()
    pending = [("Model", memoryview(model))]
    try:
        while pending:
            kind, message = pending.pop()
            if kind == "WeightEntry":
                weights |= _location(message)
            elif kind == "Entry":
                elsewhere |= _location(message)
            else:
                children = _CHILDREN[kind]
                pending += [(children[n], content) for n, content in _messages(message) if n in children]
    except (ValueError, IndexError) as error:
        raise BundleError(
            f"{graph}: not a well-formed ONNX model ({error}); rejected. Copy the bundle again."
        ) from error
    return ExternalData(weights, elsewhere)


def metadata(graph: str, model: bytes | mmap.mmap) -> dict[str, str]:
    """What a model's `metadata_props` say, such as where it comes from; the last value of a repeated key.

    Raises:
        BundleError: the bytes are not a well-formed protobuf message.
    """
    found = {}
    try:
        for number, entry in _messages(memoryview(model)):
            if number == _METADATA:
                pair = {key: bytes(content).decode("utf-8", "backslashreplace") for key, content in _messages(entry)}
                found[pair.get(_KEY, "")] = pair.get(_VALUE, "")
    except (ValueError, IndexError) as error:
        raise BundleError(f"{graph}: not a well-formed ONNX model ({error})") from error
    return found


def _location(entry: memoryview) -> set[str]:
    """Values of a key-value pair with key `location`; if key or value are repeated, all values count."""
    fields = [(number, bytes(content)) for number, content in _messages(entry)]
    if (_KEY, b"location") not in fields:
        return set()
    return {value.decode("utf-8", "backslashreplace") for number, value in fields if number == _VALUE}


def _messages(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(field number, content) of every length-delimited field; all others are skipped."""
    for number, value in fields(message):
        if not isinstance(value, int):
            yield number, value


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, number or content) of every varint and length-delimited field; fixed-size ones are skipped.

    Raises:
        ValueError, IndexError: not a well-formed protobuf message.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise ValueError(f"field number {number}")
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == _BYTES:
            size, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if size > len(message) - at:
            raise ValueError(f"field {number} ends beyond its message")
        if wire == _BYTES:
            yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    value = 0
    for i in range(10):
        byte = message[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise ValueError("a varint of more than 10 bytes")
