"""What a student is: its sizes relative to its teacher's, read from YAML files such as those in `students/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from vpp_edge.errors import BadInputError
from vpp_edge.number_range import above, whole
from vpp_edge.suggestion import did_you_mean

FULL, KL, TINY = "full", "kl", "tiny"
ENCODERS = (FULL, KL, TINY)
CHANNEL_STEP = 32  # diffusers' group norms of the video model have 32 groups
SHIPPED = "students"

FRAMES, LAYERS, TAP, WIDTH = whole(1, 1024), whole(1, 16), whole(0, 7), above(0, 1)
_CHANNELS = whole(1, 65536)


@dataclass(frozen=True)
class EncoderSpec:
    """The student's image encoder.

    Attributes:
        kind: `full`, the teacher's; `kl`, a smaller one of the same class; or `tiny`, diffusers' AutoencoderTiny.
        block_out_channels: widths from the image to the latent.
        layers_per_block: `kl`: residual blocks at each size. `tiny`: one number for each size; 0 only changes the size.
    """

    kind: str = FULL
    block_out_channels: tuple[int, ...] = ()
    layers_per_block: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in ENCODERS:
            raise BadInputError(f"encoder kind {self.kind!r}; expected one of {', '.join(ENCODERS)}")
        for width in self.block_out_channels:
            _CHANNELS.check("encoder block_out_channels", width)
        if self.kind != FULL and not (self.block_out_channels and self.layers_per_block):
            raise BadInputError(f"a {self.kind} encoder needs block_out_channels and layers_per_block")
        if self.kind == FULL and (self.block_out_channels or self.layers_per_block):
            raise BadInputError("the full encoder is the teacher's; leave block_out_channels and layers_per_block out")
        layers, sizes = list(self.layers_per_block), list(self.block_out_channels)
        if self.kind == KL and (len(layers) != 1 or layers[0] < 1):
            raise BadInputError(f"layers_per_block {layers} of a kl encoder: expected one number from 1")
        if self.kind == TINY and len(layers) != len(sizes):
            raise BadInputError(
                f"layers_per_block {layers} of a tiny encoder: expected {len(sizes)}, one for each size"
            )
        if self.kind == TINY and len(set(sizes)) > 1:
            raise BadInputError(f"block_out_channels {sizes} of a tiny encoder must be all the same")


@dataclass(frozen=True)
class StudentSpec:
    """Sizes of a student's video model. What is left out, or None, stays the teacher's.

    Attributes:
        name: of the file, for the card.
        frames: video frames that are computed; a divisor of the teacher's.
        width: the UNet's widths as a share of the teacher's, rounded to multiples of 32.
        block_out_channels: the UNet's widths themselves, multiples of 32, from the latent down.
        layers_per_block: residual blocks at each size of the UNet.
        extract_layer_idx: the up block whose output the Video Former reads.
        encoder: the image encoder.
    """

    name: str = "student"
    frames: int | None = None
    width: float | None = None
    block_out_channels: tuple[int, ...] | None = None
    layers_per_block: int | None = None
    extract_layer_idx: int | None = None
    encoder: EncoderSpec = field(default_factory=EncoderSpec)

    def __post_init__(self) -> None:
        for within, name in ((FRAMES, "frames"), (WIDTH, "width"), (LAYERS, "layers_per_block")):
            if getattr(self, name) is not None:
                within.check(name, getattr(self, name))
        if self.extract_layer_idx is not None:
            TAP.check("extract_layer_idx", self.extract_layer_idx)
        if self.width is not None and self.block_out_channels is not None:
            raise BadInputError("state either width or block_out_channels of a student, not both")
        for channels in self.block_out_channels or ():
            _CHANNELS.check("block_out_channels", channels)
            if channels % CHANNEL_STEP:
                raise BadInputError(f"block_out_channels {channels} is not a multiple of {CHANNEL_STEP}")


def student_spec(name_or_path: str) -> StudentSpec:
    """A shipped specification by its name, or that of a YAML file.

    Raises:
        BadInputError: there is no such specification, or the file states something unknown or out of range.
    """
    shipped = {Path(file.name).stem: file for file in resources.files(__package__).joinpath(SHIPPED).iterdir()}
    if name_or_path in shipped:
        return spec_from_yaml(shipped[name_or_path].read_text(encoding="utf-8"), name_or_path)
    path = Path(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(
            f"--student {name_or_path}: not readable as a specification ({error}); expected a YAML file, or one of "
            f"{', '.join(sorted(shipped))}{did_you_mean(name_or_path, shipped)}"
        ) from error
    return spec_from_yaml(text, str(path))


def spec_from_yaml(text: str, name: str) -> StudentSpec:
    """The specification in a YAML text. Raises BadInputError with the `name` of its source."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInputError(f"{name}: not YAML ({error})") from error
    try:
        given = _known(data, StudentSpec, leave_out="name")
        if "block_out_channels" in given:
            given["block_out_channels"] = _numbers(given["block_out_channels"])
        if "encoder" in given:
            encoder = _known(given["encoder"], EncoderSpec)
            sizes: dict[str, Any] = {name: _numbers(encoder[name]) for name in encoder if name != "kind"}
            given["encoder"] = EncoderSpec(**{**encoder, **sizes})
        return StudentSpec(name=Path(name).stem, **given)
    except BadInputError as error:
        raise BadInputError(f"{name}: {error}") from error


def _known(data: Any, record: type, leave_out: str = "") -> dict[str, Any]:
    names = [f.name for f in fields(record) if f.name != leave_out]
    if not isinstance(data, Mapping):
        raise BadInputError(f"found {data!r:.60}, expected a table with {', '.join(names)}")
    for key in data:
        if key not in names:
            raise BadInputError(f"unknown {key!r:.60}{did_you_mean(str(key), names)}; known: {', '.join(names)}")
    return dict(data)


def _numbers(value: Any) -> tuple[int, ...]:
    values = value if isinstance(value, list) else [value]
    for each in values:
        whole(0, 65536).check("a size", each)
    return tuple(values)
