"""Which camera texts are accepted, and with which message others are rejected."""

from __future__ import annotations

import pickle
from string import ascii_letters, digits

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.cameras.config import OPTIONS, CameraConfig, camera_from_text, parse_camera
from vpp_edge.runtime.cameras.opening import open_camera
from vpp_edge.runtime.cameras.realsense import serial_to_open
from vpp_edge.video import write_video

SOURCES = st.text(ascii_letters + digits + "/.:-_ ?=&äß", min_size=1, max_size=30).filter(
    lambda source: not source.startswith("sim/")
)
SIZES = st.none() | st.tuples(st.integers(1, 1440), st.integers(1, 1440))
VIEWS = st.sampled_from(["", "static", "wrist2"])
RATES = st.none() | st.floats(0, 1000, exclude_min=True)


@given(st.sampled_from(["software", "video"]), SOURCES, SIZES, RATES, st.booleans(), VIEWS)
def test_a_configuration_survives_text_and_pickle(kind, source, size, fps, loop, view):
    config = CameraConfig(kind, source, *(size or (None, None)), fps=fps, loop=loop, view=view)
    assert parse_camera(config.text) == config
    assert pickle.loads(pickle.dumps(config)) == config


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_rejected(text):
    try:
        assert parse_camera(text).kind in OPTIONS
    except BadInputError as error:
        assert "expected" in str(error) or "give" in str(error) or "has" in str(error)


@given(
    st.sampled_from(["width", "height", "fps"]), st.one_of(st.integers(max_value=0), st.sampled_from(["nan", "inf"]))
)
def test_numbers_that_are_not_positive_are_rejected(option, value):
    other = {"width": "&height=4", "height": "&width=4", "fps": ""}[option]
    with pytest.raises(BadInputError):
        parse_camera(f"video:clip.mp4?{option}={value}{other}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("webcam:0", "unknown kind 'webcam'; expected realsense, software, bag, video"),
        ("", "unknown kind ''"),
        ("video", "has no source; expected for example video:clip.mp4"),
        ("software:", "has no source"),
        ("software:sim/moon", "unknown view 'moon'; the simulator has top, side"),
        ("video:c.mp4?speed=2", "unknown option 'speed'; video has width, height, fps, loop"),
        ("realsense?loop=1", "unknown option 'loop'"),
        ("bag:c.bag?width=3", "unknown option 'width'"),
        ("video:c.mp4?fps=1&fps=2", "given twice"),
        ("video:c.mp4?fps=fast", "fps fast: expected a number above 0, at most 1000"),
        ("video:c.mp4?loop=yes", "expected 0 or 1"),
        ("video:c.mp4?width=640", "give both or neither"),
        ("video:c.mp4?width=4000&height=4000", "at most 2073600 in all"),
        ("realsense:1?fps=29.97", "whole rates"),
        ("video:no/such/clip.mp4", "there is no file 'no/such/clip.mp4'"),
        ("video:no/such?clip.mp4", "unknown option"),
    ],
)
def test_the_error_says_what_is_wrong(text, words):
    with pytest.raises(BadInputError) as caught:
        camera_from_text(text)
    assert words in str(caught.value)


def test_defaults_are_filled_in(tmp_path):
    clip = write_video(tmp_path / "a?b.mp4", [np.zeros((8, 8, 3), np.uint8)] * 3, 12.5)
    assert camera_from_text(f"video:{clip}?").fps == 12.5
    assert camera_from_text(f"video:{clip}?fps=50").fps == 50
    assert camera_from_text("realsense:1") == CameraConfig("realsense", "1", width=640, height=480, fps=30.0)
    assert camera_from_text("software:sim/side") == CameraConfig(
        "software", "sim/side", width=320, height=240, fps=15.0
    )


@pytest.mark.parametrize("kind", ["video", "software"])
def test_a_video_in_4k_is_refused_with_an_option_that_makes_it_fit(tmp_path, kind):
    clip = write_video(tmp_path / "clip.mp4", [np.zeros((2160, 3840, 3), np.uint8)] * 2, 10)
    with pytest.raises(BadInputError, match=r"3840 x 2160 pixels; .* resized, for example with") as caught:
        camera_from_text(f"{kind}:{clip}")
    suggested = str(caught.value).rpartition(" with ")[2]
    assert suggested == f"{kind}:{clip}?width=1920&height=1080"
    config = camera_from_text(suggested)
    assert (config.width, config.height) == (1920, 1080)


@given(st.integers(-1, 10**9), st.integers(-1, 10**9))
def test_the_suggested_size_fits(width, height):
    try:
        CameraConfig("video", "a.mp4", width=width, height=height)
    except BadInputError as error:
        if "for example with" in str(error):
            assert parse_camera(str(error).rpartition(" with ")[2]).width


def test_no_size_is_suggested_to_a_camera_for_images_without_pixels():
    with pytest.raises(BadInputError, match=r"width 0: expected a whole number from 1 to 2073600$"):
        CameraConfig("video", "a.mp4", width=0, height=10)


@pytest.mark.parametrize("kind", ["video", "software", "bag"])
def test_the_home_folder_is_found_as_in_a_shell(monkeypatch, kind):
    monkeypatch.setenv("HOME", "/home/robot")
    assert parse_camera(f"wrist={kind}:~/takes/a.mp4").source == "/home/robot/takes/a.mp4"
    assert parse_camera(f"{kind}:~").source == "/home/robot"
    for other in ("~nobody-of-this-name/a.mp4", "takes/~/a.mp4", "a~", "./~/a.mp4"):
        assert parse_camera(f"{kind}:{other}").source == other


def test_a_file_that_is_not_a_video_is_rejected(tmp_path):
    file = tmp_path / "clip.mp4"
    file.write_bytes(b"\x00" * 100)
    with pytest.raises(BadInputError, match="cannot be opened"):
        camera_from_text(f"software:{file}")


@pytest.mark.parametrize(
    ("wanted", "attached", "words"),
    [
        ("", {}, "no camera is attached: none"),
        ("", {"1": "D435", "2": "D405"}, r"several cameras are attached: 1 \(D435\), 2 \(D405\)"),
        ("3", {"1": "D435"}, r"realsense:3: not attached; attached: 1 \(D435\)"),
    ],
)
def test_a_serial_number_that_cannot_be_opened(wanted, attached, words):
    with pytest.raises(BadInputError, match=words):
        serial_to_open(wanted, attached)


def test_a_serial_number_that_can_be_opened():
    assert serial_to_open("", {"1": "D435"}) == "1"
    assert serial_to_open("2", {"1": "D435", "2": "D405"}) == "2"


def test_a_missing_camera_is_reported_at_once(realsense):
    with pytest.raises(BadInputError, match="realsense:no-such-serial: not attached; attached:"):
        open_camera(camera_from_text("realsense:no-such-serial"))
