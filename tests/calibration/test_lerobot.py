"""LeRobot v3 folders as a data set: the frames of the right episode, and a BadInputError for a bad one."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
from edited import edit_json
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_datasets import VIEWS, number_in, painted, states_of, write_lerobot, write_table

from vpp_edge.calibration.datasets import open_dataset
from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.video import write_video

LENGTHS = (5, 4)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Read only."""
    return write_lerobot(tmp_path_factory.mktemp("lerobot"), LENGTHS)


@pytest.fixture
def copied(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copy")


def table_of(root, name):
    return root / name / "chunk-000" / "file-000.parquet"


def columns_of(path):
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path).to_pydict()


def edit_table(path, change):
    columns = columns_of(path)
    change(columns)
    write_table(path, columns)


def test_every_row_of_every_view_of_both_episodes_is_its_frame(made):
    dataset = open_dataset(made)
    assert [(r.name, r.instruction, r.length) for r in dataset.recordings] == [("0", "task 0", 5), ("1", "task 1", 4)]
    first = 0
    for recording, length in zip(dataset.recordings, LENGTHS, strict=True):
        np.testing.assert_array_equal(recording.states, states_of(first, length))
        images = recording.images(range(length), 2)
        assert [[number_in(i) for i in views] for views in images] == [
            [(0, first + r), (1, first + r)] for r in range(length)
        ]
        first += length


def test_views_are_in_the_order_of_the_features(tmp_path):
    def swap(info):
        info["features"] = dict(reversed(info["features"].items()))

    recording = open_dataset(write_lerobot(tmp_path, (3, 2), edit_info=swap)).recordings[1]
    assert [number_in(i) for i in recording.images([1], 2)[0]] == [(1, 4), (0, 4)]


def test_a_start_that_was_rounded_is_the_same_frame(copied):
    def drift(columns):
        columns[f"videos/{VIEWS[0]}/from_timestamp"] = [0.0, 0.4999998]

    edit_table(table_of(copied, "meta/episodes"), drift)
    assert number_in(open_dataset(copied).recordings[1].images([0], 1)[0][0]) == (0, 5)


def test_episodes_in_files_of_their_own_are_found(copied):
    """Data, videos and the descriptions of episodes are split independently of each other."""
    key = VIEWS[0]
    video = copied / "videos" / key / "chunk-001" / "file-012.mp4"
    video.parent.mkdir()
    write_video(video, (painted(0, n) for n in range(20, 24)), 10)
    data = columns_of(table_of(copied, "data"))
    write_table(copied / "data" / "chunk-002" / "file-003.parquet", {k: v[5:] for k, v in data.items()})
    write_table(table_of(copied, "data"), {k: v[:5] for k, v in data.items()})
    episodes = columns_of(table_of(copied, "meta/episodes"))
    episodes[f"videos/{key}/chunk_index"][1], episodes[f"videos/{key}/file_index"][1] = 1, 12
    episodes[f"videos/{key}/from_timestamp"][1] = 0.0
    episodes["data/chunk_index"][1], episodes["data/file_index"][1] = 2, 3
    # The second episode's description in the file that is read first.
    write_table(
        copied / "meta" / "episodes" / "chunk-000" / "file-001.parquet", {k: v[:1] for k, v in episodes.items()}
    )
    write_table(table_of(copied, "meta/episodes"), {k: v[1:] for k, v in episodes.items()})
    dataset = open_dataset(copied)
    assert [r.name for r in dataset.recordings] == ["0", "1"]
    np.testing.assert_array_equal(dataset.recordings[1].states, states_of(5, 4))
    assert [number_in(i) for i in dataset.recordings[1].images([2], 2)[0]] == [(0, 22), (1, 7)]


@pytest.mark.parametrize("note", [{"info": {"is_depth_map": True}}, {"video_info": {"video.is_depth_map": True}}])
def test_a_depth_video_is_no_view(copied, note):
    edit_json(copied / "meta" / "info.json", lambda info: info["features"][VIEWS[0]].update(note))
    recording = open_dataset(copied).recordings[0]
    assert [number_in(i) for i in recording.images([2], 1)[0]] == [(1, 2)]


def test_a_data_set_without_states_is_read(copied):
    edit_table(table_of(copied, "data"), lambda columns: columns.pop("observation.state"))
    assert [r.states for r in open_dataset(copied).recordings] == [None, None]


def test_a_state_of_one_number_is_stored_without_a_list(copied):
    edit_table(table_of(copied, "data"), lambda c: c.update({"observation.state": [float(n) for n in range(9)]}))
    np.testing.assert_array_equal(open_dataset(copied).recordings[1].states, [[5], [6], [7], [8]])


def test_a_video_that_ends_too_early_is_named(copied):
    write_video(copied / "videos" / VIEWS[1] / "chunk-000" / "file-001.mp4", (painted(1, n) for n in range(7)), 10)
    first, second = open_dataset(copied).recordings
    with pytest.raises(BadInputError, match=r"file-001\.mp4 ends before row 2 of recording 1"):
        second.images([1], 2)
    with pytest.raises(BadInputError, match=r"file-001\.mp4 ends before the last of the recordings in it"):
        first.images([0], 2)  # the frames may be missing in the first one


@pytest.mark.parametrize("version", ["v2.0", "v2.1", "v1.6"])
def test_older_formats_are_refused_with_what_to_do(copied, version):
    edit_json(copied / "meta" / "info.json", lambda info: info.update(codebase_version=version))
    with pytest.raises(BadInputError, match=f"format {version}; convert it to v3.0 with LeRobot's"):
        open_dataset(copied)


@pytest.mark.parametrize(
    "change",
    [
        {"codebase_version": None}, {"fps": "fast"}, {"fps": 0}, {"fps": -10}, {"fps": float("nan")}, {"fps": 10**400},
        {"features": None}, {"features": []}, {"features": {}}, {"features": {"a": None}}, {"features": {"a": {}}},
        {"features": {"a": {"dtype": "image"}}}, {"features": {"a": {"dtype": "video", "info": 3}}},
        {"features": {"../../videos/a": {"dtype": "video"}}}, {"features": {"/etc": {"dtype": "video"}}},
    ],
)  # fmt: skip
def test_a_wrong_description_is_refused(copied, change):
    edit_json(copied / "meta" / "info.json", lambda info: info.update(change))
    with pytest.raises(BadInputError):
        open_dataset(copied)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_description_that_is_no_json_object_is_refused(copied, content):
    (copied / "meta" / "info.json").write_bytes(content)
    with pytest.raises(BadInputError, match=r"info\.json"):
        open_dataset(copied)


@pytest.mark.parametrize("name", ["meta/episodes", "data"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"no table", b"PAR1" * 1000, None])
def test_files_that_are_no_parquet_are_refused(copied, name, content):
    path = table_of(copied, name)
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    with pytest.raises(BadInputError, match=r"file-000\.parquet: not readable as Parquet"):
        open_dataset(copied)


@pytest.mark.parametrize("name", ["meta/episodes", "data", f"videos/{VIEWS[1]}"])
def test_missing_files_are_refused(copied, name):
    shutil.rmtree(copied / name)
    with pytest.raises(BadInputError, match=r"holds no episode|is missing"):
        open_dataset(copied)


def test_no_episode_is_refused(copied):
    edit_table(table_of(copied, "meta/episodes"), lambda columns: [c.clear() for c in columns.values()])
    with pytest.raises(BadInputError, match="holds no episode"):
        open_dataset(copied)


START, END = f"videos/{VIEWS[0]}/from_timestamp", f"videos/{VIEWS[0]}/to_timestamp"
WRONG_EPISODES = [
    ("episode_index", [0, 0], "lists an episode twice"),
    ("episode_index", [0, 7], "holds no row of episode 7"),
    ("episode_index", ["a", "b"], "missing or invalid field"),
    ("episode_index", [None, 1], "missing or invalid field"),
    ("length", [0, 4], "0 rows"),
    ("length", [-2, 4], "-2 rows"),
    ("length", [6, 4], "has 6 rows, its part of .* 5 frames"),
    (END, [0.4, 0.9], "has 5 rows, its part of .* 4 frames"),
    ("length", [1 << 62, 4], "rows; expected 1 to"),
    ("length", [[5], [4]], "missing or invalid field"),
    ("tasks", ["task 0", "task 1"], "expected a list of texts"),
    ("tasks", [[], ["task 1"]], "expected a list of texts"),
    ("tasks", [None, ["task 1"]], "expected a list of texts"),
    ("tasks", [[0], [1]], "expected a list of texts"),
    ("data/file_index", [9, 9], "is missing"),
    ("data/chunk_index", [-1, 0], "is missing"),
    ("data/chunk_index", ["../../x", "0"], "missing or invalid field"),
    ("data/chunk_index", [b"\xff", b"0"], "missing or invalid field"),
    (START, [-0.5, 0.5], "begins 5 frames before its video"),
    (START, [float("nan"), 0.5], "missing or invalid field"),
    (START, [float("inf"), 0.5], "missing or invalid field"),
    (START, [None, 0.5], "missing or invalid field"),
    (START, [{"s": 0.0}, {"s": 0.5}], "missing or invalid field"),
]


@pytest.mark.parametrize(("column", "values", "message"), WRONG_EPISODES)
def test_what_is_wrong_with_an_episode_is_said(copied, column, values, message):
    edit_table(table_of(copied, "meta/episodes"), lambda columns: columns.update({column: values}))
    with pytest.raises(BadInputError, match=message):
        open_dataset(copied)


@pytest.mark.parametrize("column", ["episode_index", "length", "tasks", "data/chunk_index", "data/file_index", START])
def test_a_missing_column_is_named(copied, column):
    edit_table(table_of(copied, "meta/episodes"), lambda columns: columns.pop(column))
    with pytest.raises(BadInputError, match=f"missing or invalid field .*{column}"):
        open_dataset(copied)


@pytest.mark.parametrize(
    "states",
    [
        [[1.0, 2.0]] + [[1.0, 2.0, 3.0]] * 8,
        [[1.0, float("nan"), 3.0]] + [[1.0, 2.0, 3.0]] * 8,
        [[1.0, None, 3.0]] + [[1.0, 2.0, 3.0]] * 8,
        [None] + [[1.0, 2.0, 3.0]] * 8,
        [["a", "b", "c"]] * 9,
        [{"x": 1.0}] * 9,
        [[[1.0], [2.0], [3.0]]] * 9,
        ["three"] * 9,
        [b"\0"] * 9,
    ],
)
def test_states_that_are_no_table_of_numbers_are_refused(copied, states):
    edit_table(table_of(copied, "data"), lambda columns: columns.update({"observation.state": states}))
    with pytest.raises(BadInputError, match="states"):
        open_dataset(copied)


def test_rows_of_no_episode_are_refused(copied):
    edit_table(table_of(copied, "data"), lambda columns: columns.pop("episode_index"))
    with pytest.raises(BadInputError, match="episode_index"):
        open_dataset(copied)


def test_without_pyarrow_the_extra_is_named(made, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match=r"pip install -e .*\[lerobot\]'"):
        open_dataset(made)


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A folder that the property below damages again for every example, and its original content."""
    root = write_lerobot(tmp_path_factory.mktemp("spoilt"), (2, 1))
    paths = [table_of(root, "meta/episodes"), table_of(root, "data"), root / "meta" / "info.json"]
    return root, {path: path.read_bytes() for path in paths}


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_of_a_table_is_read_or_refused(spoilt, data):
    root, contents = spoilt
    for path, content in contents.items():
        path.write_bytes(content)
    path = data.draw(st.sampled_from(sorted(contents)))
    damaged = bytearray(contents[path])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    try:
        recordings = open_dataset(root).recordings
    except BadInputError:
        return
    assert recordings and all(r.length >= 1 and r.instruction is not None for r in recordings)


json_values = (
    st.none()
    | st.booleans()
    | st.integers(-3, 10**30)
    | st.floats()
    | st.text(max_size=4)
    | st.lists(st.integers(0, 3), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.none() | st.text(max_size=3), max_size=3)
)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.sampled_from(
        [("codebase_version",), ("fps",), ("features",), ("features", VIEWS[0]), ("features", VIEWS[0], "dtype"),
         ("features", VIEWS[0], "info"), ("features", "new")]
    ),
    value=json_values,
)  # fmt: skip
def test_any_change_of_the_description_is_read_or_refused(spoilt, place, value):
    root, contents = spoilt
    for path, content in contents.items():
        path.write_bytes(content)
    info = json.loads(contents[root / "meta" / "info.json"])
    inner = info
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (root / "meta" / "info.json").write_text(json.dumps(info))
    try:
        assert open_dataset(root).recordings
    except BadInputError:
        return
