"""VPP's training layout as a data set: the right frames in the right rows, and a BadInputError for a bad one."""

from __future__ import annotations

import json
import shutil

import material
import numpy as np
import pytest
from edited import edit_json
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_datasets import SIZE, number_in, states_of, write_trajectories

from vpp_edge.calibration.datasets import open_dataset
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.interfaces import Frame
from vpp_edge.runtime.ipc.dtypes import chunk_dtype, tick_dtype, verdict_dtype
from vpp_edge.runtime.ipc.rings.newest import Message
from vpp_edge.runtime.telemetry.recorder import EpisodeWriter, RecorderSettings

EPISODES = material.ROOT.parent / "shared" / "episodes"
LENGTHS = (5, 4, 6)
DELETED = object()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Read only."""
    return write_trajectories(tmp_path_factory.mktemp("made"), LENGTHS)


@pytest.fixture
def copied(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A recording whose annotation the properties below rewrite for every example, and that annotation."""
    root = write_trajectories(tmp_path_factory.mktemp("one"), (3,))
    path = root / "annotation" / "val" / "0.json"
    return path, path.read_text()


def first_annotation(root):
    return root / "annotation" / "val" / "0.json"


def test_every_row_of_every_view_is_its_frame(made):
    dataset = open_dataset(made)
    assert [r.name for r in dataset.recordings] == ["0", "1", "2"]
    first = 0
    for recording, length in zip(dataset.recordings, LENGTHS, strict=True):
        assert recording.length == length and recording.instruction == f"task {recording.name}"
        np.testing.assert_array_equal(recording.states, states_of(first, length))
        images = recording.images(range(length), 2)
        assert [[number_in(i) for i in views] for views in images] == [
            [(0, first + r), (1, first + r)] for r in range(length)
        ]
        first += length


def test_rows_come_in_the_requested_order(made):
    recording = open_dataset(made).recordings[1]
    images = recording.images([3, 0, 3], 1)
    assert [number_in(views[0]) for views in images] == [(0, 8), (0, 5), (0, 8)]
    assert all(len(views) == 1 for views in images)


@pytest.mark.parametrize("below", ["", "annotation", "annotation/val"])
def test_a_folder_at_any_height_is_the_whole_of_what_it_holds(made, below, monkeypatch):
    assert [r.name for r in open_dataset(made / below).recordings] == ["0", "1", "2"]
    relative = type(made)(below or ".")
    monkeypatch.chdir(made)
    assert [r.name for r in open_dataset(relative).recordings] == ["0", "1", "2"]
    assert number_in(open_dataset(relative).recordings[2].images([1], 1)[0][0]) == (0, 10)


@pytest.mark.parametrize("relative", [False, True])
def test_a_single_annotation_is_one_recording(made, relative, monkeypatch):
    path = made / "annotation" / "val" / "1.json"
    if relative:
        monkeypatch.chdir(path.parent)
        path = type(path)("1.json")
    (recording,) = open_dataset(path).recordings
    assert (recording.name, recording.length) == ("1", 4)
    assert number_in(recording.images([0], 2)[0][1]) == (1, 5)


def test_splits_are_kept_apart(tmp_path):
    write_trajectories(tmp_path, (2,), "train")
    write_trajectories(tmp_path, (3, 2), "val")
    dataset = open_dataset(tmp_path)
    assert [(r.name, r.length) for r in dataset.recordings] == [("train/0", 2), ("val/0", 3), ("val/1", 2)]
    assert [r.name for r in open_dataset(tmp_path / "annotation" / "train").recordings] == ["0"]
    assert [r.name for r in dataset.select(["val/1", "train/0"]).recordings] == ["val/1", "train/0"]


def test_names_stay_unique_when_splits_have_splits(tmp_path):
    write_trajectories(tmp_path, (2,), "a/val")
    write_trajectories(tmp_path, (2,), "b/val")
    assert [r.name for r in open_dataset(tmp_path).recordings] == ["a/val/0", "b/val/0"]


def test_numbers_are_ordered_as_numbers(copied):
    for name in ("10", "9", "100"):
        shutil.copy(first_annotation(copied), first_annotation(copied).with_name(f"{name}.json"))
    assert [r.name for r in open_dataset(copied).recordings] == ["0", "1", "2", "9", "10", "100"]


def test_an_unknown_name_is_answered_with_the_known_ones(made):
    with pytest.raises(BadInputError, match="no recording '7'; it has 0, 1, 2"):
        open_dataset(made).select(["0", "7"])


def test_more_views_than_recorded_are_refused(made):
    with pytest.raises(BadInputError, match="has 2 views, the policy needs 3"):
        open_dataset(made).recordings[0].images([0], 3)


def test_what_our_recorder_writes_is_read(tmp_path):
    vector = np.array([0.1, 0.2, 0.3, 0, 0, 0, 1, *np.linspace(0, 1, 3)])
    settings_ = RecorderSettings(
        folder=str(tmp_path),
        instruction="Move the mango.",
        period_ns=100_000_000,
        tick_rate_hz=100.0,
        sizes=(SIZE, SIZE),
        quaternion_order="xyzw",
        origin={},
    )
    writer = EpisodeWriter(settings_, ["static", "wrist"])
    verdict = np.zeros(1, verdict_dtype(chunk_dtype(4, 10, 2)))
    verdict["verdict"] = b"used"
    writer.add_inference(verdict)
    for i in range(4):
        tick = np.zeros(1, tick_dtype(10))
        tick["state"], tick["command"] = vector + np.eye(10)[0] * i, vector
        writer.add_tick(tick)
        writer.add_row(tick[0], [_frame(40 * i), _frame(200 - 40 * i)])
    writer.complete()
    writer.discard()
    (recording,) = open_dataset(tmp_path).recordings
    assert (recording.instruction, recording.length, len(recording.views)) == ("Move the mango.", 4, 2)
    np.testing.assert_allclose(recording.states[:, 0], [0.1, 1.1, 2.1, 3.1])
    levels = [[image.mean() for image in views] for views in recording.images(range(4), 2)]
    np.testing.assert_allclose(levels, [[40 * i, 200 - 40 * i] for i in range(4)], atol=4)


def _frame(level):
    return Message(Frame(np.full((48, 80, 3), level, np.uint8), 1, 1), 1, 1)


@pytest.mark.skipif(not EPISODES.is_dir(), reason=f"no recordings at {EPISODES}; they are kept beside the repository")
@pytest.mark.parametrize(
    ("name", "lengths", "views", "dims", "shape"),
    [("xhand", {"0": 136, "100": 70}, 2, 19, (256, 256, 3)), ("bridge", {"2": 40, "8": 43}, 1, 7, (480, 640, 3))],
)
def test_released_recordings_are_read(name, lengths, views, dims, shape):
    for recording in open_dataset(EPISODES / name).recordings:
        assert recording.length == lengths.pop(recording.name) and len(recording.views) == views
        assert recording.states.shape == (recording.length, dims) and len(recording.instruction) > 10
        last = recording.length - 1
        images = recording.images([0, last], views)
        assert [[i.shape for i in each] for each in images] == [[shape] * views] * 2
        with pytest.raises(BadInputError, match=f"ends before row {last + 1}"):
            recording.images([last + 1], 1)  # there is a frame for every row, and no more
    assert not lengths


def test_other_folders_are_answered_with_the_known_layouts(tmp_path):
    with pytest.raises(BadInputError, match="no such data set"):
        open_dataset(tmp_path / "none")
    with pytest.raises(BadInputError, match=r"expected `annotation/` and `videos/`.*LeRobot v3"):
        open_dataset(tmp_path)
    (tmp_path / "lost.json").write_text("{}")
    with pytest.raises(BadInputError, match="not inside a folder with"):
        open_dataset(tmp_path / "lost.json")
    (tmp_path / "annotation").mkdir()
    with pytest.raises(BadInputError, match="holds no annotation"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    "name", ["../videos/val/0/0.mp4", "/etc/passwd", "videos/../../x.mp4", "", "x" * 5000, "a\0b", "\ud800", 7, None]
)
def test_names_that_are_no_file_of_the_data_set_are_refused(copied, name):
    outside = copied.parent / "videos" / "val" / "0" / "0.mp4"
    outside.parent.mkdir(parents=True)
    outside.write_bytes(b"")  # what such a name would reach
    edit_json(first_annotation(copied), lambda note: note["videos"][0].update(video_path=name))
    with pytest.raises(BadInputError, match=r"not a path inside the data set|is missing"):
        open_dataset(copied)


def test_a_missing_video_is_named(copied):
    (copied / "videos" / "val" / "0" / "1.mp4").unlink()
    with pytest.raises(BadInputError, match=r"videos/val/0/1\.mp4 named there is missing; copy"):
        open_dataset(copied)


@pytest.mark.parametrize("kept", [0, 100, 0.5])
def test_a_truncated_video_is_refused_when_it_is_read(copied, kept):
    video = copied / "videos" / "val" / "0" / "0.mp4"
    content = video.read_bytes()
    video.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    recording = open_dataset(copied).recordings[0]
    with pytest.raises(BadInputError, match=r"0\.mp4"):
        recording.images([4], 2)


def test_a_video_shorter_than_the_states_is_refused(copied):
    edit_json(first_annotation(copied), lambda note: note.update(video_length=6, states=states_of(0, 6)))
    with pytest.raises(BadInputError, match="ends before row 5 of recording 0"):
        open_dataset(copied).recordings[0].images([2, 5], 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"states": [[1, 2, 3]] * 4 + [[1, 2]]}, "not a table of numbers"),
        ({"states": [[1, 2, 3]] * 4}, "expected 5 finite rows"),
        ({"states": [[1, 2, float("nan")]] * 5}, "expected 5 finite rows"),
        ({"states": [[1, 2, float("inf")]] * 5}, "expected 5 finite rows"),
        ({"states": [[1, 2, None]] * 5}, "expected 5 finite rows"),
        ({"states": [[1, 2, 10**400]] * 5}, "not a table of numbers"),
        ({"states": [1, 2, 3, 4, 5]}, "expected 5 finite rows"),
        ({"states": "secret"}, "not a table of numbers"),
        ({"states": {"a": 1}}, "not a table of numbers"),
        ({"video_length": 0}, "0 rows"),
        ({"video_length": -3}, "-3 rows"),
        ({"video_length": 10**30}, "rows; expected 1 to"),
        ({"video_length": float("inf")}, "not an annotation of a recording"),
        ({"video_length": "many"}, "not an annotation of a recording"),
        ({"texts": []}, "expected a list of texts"),
        ({"texts": "move"}, "expected a list of texts"),
        ({"texts": [5]}, "expected a list of texts"),
        ({"texts": ["\ud800"]}, "expected a list of texts"),
        ({"videos": []}, "without videos"),
        ({"videos": {"video_path": "videos/val/0/0.mp4"}}, "not an annotation of a recording"),
        ({"videos": ["videos/val/0/0.mp4"]}, "not an annotation of a recording"),
        ({"videos": None}, "not an annotation of a recording"),
    ],
)
def test_what_is_wrong_with_an_annotation_is_said(copied, change, message):
    edit_json(first_annotation(copied), lambda note: note.update(change))
    with pytest.raises(BadInputError, match=message) as caught:
        open_dataset(copied)
    assert str(first_annotation(copied)) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"{", b"\xff\xfe", b'{"texts": ' + b"[" * 100_000, b"\0" * 9])
def test_files_that_are_no_annotation_are_refused(copied, content):
    first_annotation(copied).write_bytes(content)
    with pytest.raises(BadInputError, match=r"0\.json"):
        open_dataset(copied)


def test_a_file_of_any_size_is_not_read(copied):
    with first_annotation(copied).open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(BadInputError, match="larger than"):
        open_dataset(copied)


def test_rows_beyond_the_stated_length_are_left_out(copied):
    edit_json(first_annotation(copied), lambda note: note.update(video_length=3))
    recording = open_dataset(copied).recordings[0]
    assert recording.length == 3
    np.testing.assert_array_equal(recording.states, states_of(0, 3))


def test_a_recording_without_states_is_read(copied):
    edit_json(first_annotation(copied), lambda note: note.pop("states"))
    assert open_dataset(copied).recordings[0].states is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.sampled_from(
        [("texts",), ("texts", 0), ("videos",), ("videos", 0), ("videos", 1), ("videos", 0, "video_path"),
         ("video_length",), ("states",), ("states", 1), ("states", 2, 0), ("episode_id",)]
    ),
    value=json_values | st.just(DELETED),
)  # fmt: skip
def test_any_change_of_an_annotation_is_read_or_refused(one, place, value):
    path, content = one
    note = json.loads(content)
    inner = note
    for key in place[:-1]:
        inner = inner[key]
    if value is DELETED:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    path.write_text(json.dumps(note))
    try:
        (recording,) = open_dataset(path).recordings
    except BadInputError:
        return
    assert isinstance(recording.instruction, str) and recording.length >= 1 and recording.views
    assert recording.states is None or len(recording.states) == recording.length


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_of_an_annotation_is_read_or_refused(one, data):
    path, content = one
    damaged = bytearray(content.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))] if data.draw(st.booleans()) else damaged)
    try:
        open_dataset(path)
    except BadInputError as error:
        assert "0.json" in str(error)
