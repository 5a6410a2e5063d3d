"""Camera images to frames, against the resize that the training code uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from vpp_edge.errors import BadInputError
from vpp_edge.spec.policy import ActionSegment, ActionSpec, CameraSpec, PolicySpec
from vpp_edge.spec.preprocess import frames_from_images, resized_square


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def spec(*sizes: int) -> PolicySpec:
    action = ActionSpec(dims=1, horizon=1, period_ns=1, bounds=None, segments=(ActionSegment("raw", 0, 1, "1"),))
    cameras = tuple(CameraSpec(f"view {i}", size, size) for i, size in enumerate(sizes))
    return PolicySpec(
        variant="calvin",
        cameras=cameras,
        frames=1,
        latent=(4, 8, 8),
        tokens=(1, 1),
        text_lengths=(20, 77),
        pad_token_id=1,
        action=action,
        state=None,
        sigmas=(1.0, 0.0),
    )


def reference(square: np.ndarray, size: int) -> np.ndarray:
    """torchvision's Resize(antialias=True), in float64."""
    pixels = torch.from_numpy(square.astype(np.float64)).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(
        pixels, size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0].permute(1, 2, 0).numpy()


# down and up, whole and odd ratios, a prime, one pixel, one past a power of two
@pytest.mark.parametrize(("side", "size"), [(480, 256), (512, 256), (200, 256), (256, 256), (257, 256), (63, 64)])
@pytest.mark.parametrize("seed", [0, 1])
def test_resizing_is_that_of_training(side: int, size: int, seed: int) -> None:
    pixels = image(side, side, seed)
    error = np.abs(resized_square(pixels, size).astype(np.float64) - reference(pixels, size))
    assert error.max() <= 0.5 + 1e-3  # rounding to the nearest level and no more


@pytest.mark.parametrize(("side", "size"), [(1, 7), (7, 1), (31, 3), (3, 31), (720, 64)])
def test_extreme_ratios(side: int, size: int) -> None:
    pixels = image(side, side)
    error = np.abs(resized_square(pixels, size).astype(np.float64) - reference(pixels, size))
    assert error.max() <= 0.5 + 1e-3


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [
        (480, 640, slice(0, 480), slice(80, 560)),
        (640, 480, slice(80, 560), slice(0, 480)),
        (5, 8, slice(0, 5), slice(1, 6)),  # an odd rest: the smaller half is cut first
    ],
)
def test_the_middle_square_is_kept(height: int, width: int, rows: slice, columns: slice) -> None:
    pixels = image(height, width)
    side = min(height, width)
    np.testing.assert_array_equal(resized_square(pixels, side), pixels[rows, columns])


def test_colours_stay_in_their_channels_and_flat_images_stay_flat() -> None:
    flat = np.empty((90, 120, 3), np.uint8)
    flat[:] = (255, 128, 1)
    for size in (64, 200):
        assert (resized_square(flat, size) == (255, 128, 1)).all()


def test_the_result_is_not_the_camera_s_buffer() -> None:
    pixels = image(64, 96)
    frame = resized_square(pixels[:, ::-1], 64)
    assert frame.flags.c_contiguous
    frames = frames_from_images(spec(64), [pixels])
    pixels[:] = 0
    assert frames.any()


def test_views_keep_their_order() -> None:
    first, second = image(100, 100, 1), image(48, 64, 2)
    frames = frames_from_images(spec(32, 32), [first, second])
    assert frames.shape == (2, 32, 32, 3)
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames[0], resized_square(first, 32))
    np.testing.assert_array_equal(frames[1], resized_square(second, 32))


@pytest.mark.parametrize(
    "wrong",
    [
        image(8, 8).astype(np.float32),
        image(8, 8)[..., :1],
        image(8, 8)[..., 0],
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        image(8, 8).astype(np.int16),
        [[1, 2, 3]],
        None,
    ],
)
def test_anything_but_an_rgb_image_is_refused(wrong: Any) -> None:
    with pytest.raises(BadInputError, match=r"an image must be uint8 RGB \(height, width, 3\), got"):
        frames_from_images(spec(8), [wrong])


def test_a_missing_view_is_named() -> None:
    with pytest.raises(BadInputError, match=r"got 1 image, expected 2 \(view 0, view 1\)"):
        frames_from_images(spec(8, 8), [image(8, 8)])
