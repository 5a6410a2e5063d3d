"""Videos that are written and read back: sizes, rate, colours, and nothing left behind when it fails."""

from __future__ import annotations

import numpy as np
import pytest

from vpp_edge.errors import BadInputError
from vpp_edge.video import VideoInfo, VideoWriter, load_av, read_frames, video_info, write_animation, write_video

pytest.importorskip("av")


def frames_of(count, size):
    return [np.full((*size, 3), (20 * n, 128, 255 - 20 * n), np.uint8) for n in range(count)]


@pytest.mark.parametrize(("size", "fps"), [((48, 64), 30.0), ((47, 63), 12.5), ((1, 1), 1.0)])
def test_frames_come_back_in_order_with_their_colours(tmp_path, size, fps):
    frames = frames_of(10, size)
    path = write_video(tmp_path / "a.mp4", iter(frames), fps)
    height, width = size[0] + size[0] % 2, size[1] + size[1] % 2
    assert video_info(path) == VideoInfo(fps, 10, width, height)
    back = list(read_frames(path))
    assert len(back) == 10
    for image, frame in zip(back, frames, strict=True):
        assert image.shape == (height, width, 3) and image.flags.c_contiguous and image.flags.writeable
        assert np.abs(image.astype(int) - frame[0, 0]).max() <= 4  # 4:2:0 in 8 bits
    assert next(read_frames(path, (10, 6))).shape == (6, 10, 3)


def test_a_build_without_h264_writes_mpeg4(tmp_path, monkeypatch):
    monkeypatch.setattr(load_av(), "codecs_available", load_av().codecs_available - {"libx264"})
    path = write_video(tmp_path / "a.mp4", frames_of(3, (32, 32)), 10)
    with load_av().open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert len(list(read_frames(path))) == 3


def failing():
    yield from frames_of(2, (8, 8))
    raise OSError("the camera burnt")


@pytest.mark.parametrize(
    ("frames", "fps", "words"),
    [
        ([], 30, "got no frame"),
        (frames_of(1, (8, 8)), 0, "0 fps"),
        ([*frames_of(1, (8, 8)), *frames_of(1, (8, 6))], 30, r"\(8, 6, 3\); expected uint8 \(8, 8, 3\)"),
        ([np.zeros((8, 8, 3))], 30, "float64"),
        ([np.zeros((8, 8), np.uint8)], 30, r"\(8, 8\)"),
    ],
)
def test_what_cannot_be_written_is_refused_and_the_old_file_stays(tmp_path, frames, fps, words):
    path = tmp_path / "a.mp4"
    path.write_text("old")
    with pytest.raises(BadInputError, match=words):
        write_video(path, frames, fps)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"] and path.read_text() == "old"


def test_an_error_of_the_frames_leaves_nothing_behind(tmp_path):
    with pytest.raises(OSError, match="burnt"):
        write_video(tmp_path / "a.mp4", failing(), 30)
    assert not list(tmp_path.iterdir())


def test_damaged_and_missing_files_are_named(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames_of(30, (64, 64)), 30)
    (tmp_path / "half.mp4").write_bytes(path.read_bytes()[:400])
    for name in ("half.mp4", "none.mp4"):
        with pytest.raises(BadInputError, match=name):
            list(read_frames(tmp_path / name))


def test_a_writer_may_be_closed_twice(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", 8, 8, 30)
    writer.add(np.zeros((8, 8, 3), np.uint8))
    writer.close()
    writer.close()
    assert video_info(tmp_path / "a.mp4").frames == 1


def test_an_animation_has_every_frame_and_its_pace(tmp_path):
    frames = [np.full((24, 32, 3), value, np.uint8) for value in (0, 90, 200)]
    path = write_animation(tmp_path / "a.webp", frames, 5)
    content = path.read_bytes()
    assert content[8:12] == b"WEBP" and content.count(b"ANMF") == 3
    assert content[content.index(b"ANIM") + 12 :][:2] == b"\0\0", "it has to begin again for ever"
    assert [int.from_bytes(part[16:19], "little") for part in content.split(b"ANMF")[1:]] == [200, 200, 200]


@pytest.mark.parametrize(
    ("frames", "fps"), [([], 5), (frames_of(2, (8, 8)), 0), ([*frames_of(1, (8, 8)), *frames_of(1, (8, 10))], 5)]
)
def test_an_animation_that_cannot_be_is_refused_and_leaves_nothing(tmp_path, frames, fps):
    with pytest.raises(BadInputError, match="animation"):
        write_animation(tmp_path / "a.webp", list(frames), fps)
    assert not list(tmp_path.iterdir())
