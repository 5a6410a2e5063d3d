"""A student starts as what its teacher computes, as far as its sizes allow; wrong specifications are refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vpp_edge.checkpoint.reader import Checkpoint
from vpp_edge.checkpoint.shapes import unet_shapes
from vpp_edge.errors import BadInputError
from vpp_edge.export.distill.slicing import unet_from_teacher
from vpp_edge.export.distill.student import student_configs, student_start
from vpp_edge.export.distill.student_spec import ENCODERS, EncoderSpec, StudentSpec, spec_from_yaml, student_spec
from vpp_edge.model.policy import policy_from_checkpoint

FRAMES = torch.randint(0, 256, (2, 128, 128, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("frames", [8, 4, 1])
def test_fewer_frames_keep_their_place_in_time(teacher_checkpoint: Checkpoint, frames: int) -> None:
    """As with `export --frames`: frames 0, stride, 2 * stride, ... of the teacher."""
    start = student_start(teacher_checkpoint, StudentSpec(frames=frames))
    text, noise = drawn(1, 20, 64), drawn(2, 8, 4, 16, 16)[:, :: start.stride]
    wanted = policy_from_checkpoint(teacher_checkpoint).video(FRAMES, text, noise)
    found = start.video_model(teacher_checkpoint.scheduler)(FRAMES, text, noise)
    assert start.config.former.frames == frames and start.stride == 8 // frames
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-5


def test_what_is_kept_is_the_teachers(teacher_checkpoint: Checkpoint) -> None:
    """Of two layers the first stays; of a block that reads a concatenation, a share of each part."""
    teacher = teacher_checkpoint.unet
    config = {**teacher.config, "block_out_channels": [32, 32, 32, 64], "layers_per_block": 1}
    tensors = unet_from_teacher(teacher.tensors, teacher.config, config, unet_shapes(config))
    first = "down_blocks.1.resnets.0.spatial_res_block.conv1.weight"
    assert torch.equal(tensors[first], teacher.tensors[first][::2])  # 32 of 64 rows; the 32 columns are the teacher's
    # The last layer of up block 2 reads 32 of 64 channels from below, and 32 of 32 of the first down block.
    own, full = (f"up_blocks.2.resnets.{n}.spatial_res_block.norm1.weight" for n in (1, 2))
    picked = [*range(0, 64, 2), *range(64, 96)]
    assert torch.equal(tensors[own], teacher.tensors[full][picked])


@settings(max_examples=6, deadline=None)
@given(
    widths=st.tuples(st.just(32), *(st.sampled_from([32, 64]),) * 3),
    layers=st.integers(1, 2),
    frames=st.sampled_from([1, 2, 4, 8]),
    tap=st.integers(0, 1),
    encoder=st.sampled_from(ENCODERS),
)
def test_every_size_has_a_start(
    teacher_checkpoint: Checkpoint, widths: tuple[int, ...], layers: int, frames: int, tap: int, encoder: str
) -> None:
    layers_of_encoder = (1,) * (4 if encoder == "tiny" else 1)
    sizes = {"block_out_channels": (32,) * 4, "layers_per_block": layers_of_encoder} if encoder != "full" else {}
    spec = StudentSpec(
        frames=frames,
        block_out_channels=widths,
        layers_per_block=layers,
        extract_layer_idx=tap,
        encoder=EncoderSpec(kind=encoder, **sizes),
    )
    start = student_start(teacher_checkpoint, spec)
    model = start.video_model(teacher_checkpoint.scheduler)
    assert {n: tuple(t.shape) for n, t in model.unet.state_dict().items()} == unet_shapes(start.unet.config)
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (StudentSpec(frames=3), "3 frames are no divisor of the teacher's 8"),
        (StudentSpec(block_out_channels=(32, 64, 64)), "3 block_out_channels for a UNet of 4 blocks"),
        (StudentSpec(block_out_channels=(64, 64, 64, 64)), "beyond the teacher's"),
        (StudentSpec(extract_layer_idx=2), "extract_layer_idx 2 is beyond the teacher's 1"),
        (StudentSpec(encoder=EncoderSpec("kl", (32, 32), (1,))), "2 encoder widths, expected 4"),
    ],
)
def test_what_does_not_fit_the_teacher_is_refused(teacher_checkpoint: Checkpoint, spec: StudentSpec, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        student_configs(teacher_checkpoint, spec)


def test_a_share_of_the_width_is_rounded_to_what_the_norms_need(teacher_checkpoint: Checkpoint) -> None:
    unet, _, _ = student_configs(teacher_checkpoint, StudentSpec(width=0.6))
    assert unet["block_out_channels"] == [32, 32, 32, 32]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("frame: 8", r"unknown 'frame' \(did you mean 'frames'\?\)"),
        ("frames: 0", "frames 0: expected a whole number from 1"),
        ("frames: eight", "frames eight: expected a whole number"),
        ("- 8", "expected a table"),
        ("block_out_channels: [48, 64]", "block_out_channels 48 is not a multiple of 32"),
        ("width: 0.5\nblock_out_channels: [32, 32]", "not both"),
        ("encoder: {kind: small}", "encoder kind 'small'; expected one of full, kl, tiny"),
        ("encoder: {kind: tiny}", "a tiny encoder needs block_out_channels and layers_per_block"),
        ("encoder: {kind: tiny, block_out_channels: [16, 32], layers_per_block: [0, 1]}", "all the same"),
        ("frames: [", "not YAML"),
    ],
)
def test_a_wrong_file_is_refused_by_its_name(text: str, said: str) -> None:
    with pytest.raises(BadInputError, match=f"mine.yaml: .*{said}"):
        spec_from_yaml(text, "mine.yaml")


@given(st.text(max_size=80))
def test_any_text_is_a_specification_or_refused(text: str) -> None:
    try:
        assert isinstance(spec_from_yaml(text, "any"), StudentSpec)
    except BadInputError as error:
        assert str(error).startswith("any: ")


def test_a_missing_specification_names_the_shipped_ones() -> None:
    with pytest.raises(BadInputError, match=r"orin-agz.*demo.*did you mean 'orin-agx'"):
        student_spec("orin-agz")
