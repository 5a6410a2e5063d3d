"""A run as an MCAP file (mcap.dev), with topics that Foxglove and other readers show.

| topic | schema | content |
|---|---|---|
| `/control` | vpp_edge.Tick | lateness, measured state, command, whether the hand holds; every period |
| `/chunks` | vpp_edge.Chunk | every chunk of the policy: verdict, targets, time per stage |
| `/cameras/VIEW` | foxglove.CompressedImage | JPEG, at the rate of `--log-frames` |

Messages are JSON with their schema in the file; times are wall-clock nanoseconds, with the run's monotonic ones inside.
The file gets its name when it is complete. The file of a run that was killed keeps its hidden name until the next run
with this log, which gives it a visible one; readers can recover it.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.files.outputs import check_output_file
from vpp_edge.files.partial import PartialFile, partials, taken_over
from vpp_edge.installing import pip_install
from vpp_edge.runtime.interfaces import Frame
from vpp_edge.video import load_av

NUMBERS = {"type": "array", "items": {"type": "number"}}
TIME = {"type": "object", "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}}}
TICK = {
    "monotonic_ns": {"type": "integer"},
    "late_ms": {"type": "number"},
    "state": NUMBERS,
    "command": NUMBERS,
    "holding": {"type": "boolean"},
}
CHUNK = {
    "monotonic_ns": {"type": "integer"},
    "request": {"type": "integer"},
    "verdict": {"type": "string"},
    "dropped": {"type": "integer"},
    "observed_ns": {"type": "integer"},
    "age_ms": {"type": "number"},
    "image_age_ms": {"type": "number"},
    "targets": {"type": "array", "items": NUMBERS},
    "stages_ms": {"type": "object"},
}
IMAGE = {
    "timestamp": TIME,
    "frame_id": {"type": "string"},
    "data": {"type": "string", "contentEncoding": "base64"},
    "format": {"type": "string"},
}


def check_log(path: str) -> tuple[str, ...]:
    """Checks before the run that the log can be written, and keeps what a killed run left of it.

    Returns:
        a note for each log that was kept.

    Raises:
        MissingDependencyError, BadInputError.
    """
    from importlib.util import find_spec

    for module, name in (("mcap", "mcap"), ("av", "PyAV")):
        if find_spec(module) is None:
            raise MissingDependencyError(name, "--log", pip_install("log", "video"))
    target = Path(path)
    check_output_file(target, "--log")
    if not target.parent.is_dir():
        raise BadInputError(f"--log {path}: there is no folder {target.parent}; create it, or give another path")
    notes = []
    for left in partials(target):
        with taken_over(left) as taken:
            if taken and left.stat().st_size:
                notes.append(_kept(left, target))
    return tuple(notes)


def _kept(left: Path, target: Path) -> str:
    """Gives the log of a killed run a visible name of its own, since it tells why that run ended."""
    names = (target.with_name(f"{target.stem}.killed-{number}{target.suffix}") for number in itertools.count(1))
    kept = next(name for name in names if not name.exists())
    left.rename(kept)
    return f"the log of an earlier run that was killed is now in {kept}; `mcap recover` completes it"


class McapLog:
    """A Sink that writes one file. Use from one thread.

    Args:
        path: the file; replaced when the new one is complete.
        about: metadata of the file: bundle, hand, instruction and the like.
    """

    def __init__(self, path: str, about: dict[str, str]) -> None:
        from mcap.writer import CompressionType, Writer

        self._partial = PartialFile(Path(path))
        self._ahead_ns = time.time_ns() - time.monotonic_ns()
        self._file = self._partial.path.open("wb")
        self._writer: Any = Writer(self._file, compression=CompressionType.NONE)  # a power cut then loses little
        self._writer.start(library="vpp-edge")
        self._writer.add_metadata("run", about)
        self._channels: dict[str, int] = {}

    def tick(self, slot_ns: int, values: dict[str, Any]) -> None:
        lists = {"state": values["state"].tolist(), "command": values["command"].tolist()}
        self._add(
            "/control", "vpp_edge.Tick", TICK, at_ns=slot_ns, content={"monotonic_ns": slot_ns, **values, **lists}
        )

    def chunk(self, arrived_ns: int, values: dict[str, Any]) -> None:
        # JSON has no NaN.
        targets = [[x if math.isfinite(x) else None for x in target] for target in values["targets"].tolist()]
        content = {"monotonic_ns": arrived_ns, **values, "targets": targets}
        self._add("/chunks", "vpp_edge.Chunk", CHUNK, at_ns=arrived_ns, content=content)

    def frame(self, view: str, frame: Frame) -> None:
        sec, nsec = divmod(frame.stamp_ns + self._ahead_ns, 1_000_000_000)
        content = {
            "timestamp": {"sec": sec, "nsec": nsec},
            "frame_id": view,
            "format": "jpeg",
            "data": base64.b64encode(self._jpeg(frame.image)).decode(),
        }
        self._add(f"/cameras/{view}", "foxglove.CompressedImage", IMAGE, at_ns=frame.stamp_ns, content=content)

    def close(self) -> None:
        """Completes the file and gives it its name; may be called twice."""
        if self._file.closed:
            return
        self._writer.finish()
        self._file.close()
        self._partial.complete()

    def _add(self, topic: str, schema: str, properties: dict[str, Any], *, at_ns: int, content: dict[str, Any]) -> None:
        if topic not in self._channels:
            described = json.dumps({"type": "object", "properties": properties}).encode()
            number = self._writer.register_schema(name=schema, encoding="jsonschema", data=described)
            self._channels[topic] = self._writer.register_channel(
                topic=topic, message_encoding="json", schema_id=number
            )
        wall_ns = at_ns + self._ahead_ns
        self._writer.add_message(
            self._channels[topic], log_time=wall_ns, publish_time=wall_ns, data=json.dumps(content).encode()
        )

    def _jpeg(self, image: np.ndarray) -> bytes:
        av = load_av()
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(format="yuvj420p")
        coder = av.CodecContext.create("mjpeg", "w")
        coder.width, coder.height, coder.pix_fmt = picture.width, picture.height, "yuvj420p"
        coder.time_base = Fraction(1, 30)
        return b"".join(bytes(packet) for packet in (*coder.encode(picture), *coder.encode(None)))
