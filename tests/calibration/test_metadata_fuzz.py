"""Any content of a data set's metadata gives recordings or an error of ours, in a moment."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_datasets import VIEWS, write_lerobot, write_table, write_trajectories

from vpp_edge.calibration.datasets import open_dataset
from vpp_edge.errors import BadInputError

pytest.importorskip("av")
pytest.importorskip("pyarrow")
MOST_SECONDS = 5.0  # of processor time; an example takes a hundredth of it
REPEATABLE = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

numbers = st.sampled_from(
    [0, -1, 1, 2, 3, 10, 0.5, -0.5, 1e-300, 1e300, -1e300, 1e18, 2**31, 2**63 - 1, -(2**63), 10**400, -(10**400)]
) | st.sampled_from([math.nan, math.inf, -math.inf, 0.1, 1 / 3, 30.0, True, False])
texts = st.sampled_from(
    [
        "",
        "0",
        "v3.0",
        "v2.1",
        "v4.0",
        "video",
        "image",
        "nan",
        "\0",
        "\ud800",
        "../../x",
        "/etc",
        "{",
        "ä" * 3000,
        "1e5",
    ]
)
scalars = st.none() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts | st.sampled_from(["dtype", "info"]), inner, max_size=3)
    ),
    max_leaves=6,
)
DELETED = "deleted"


@pytest.fixture(scope="module")
def lerobot(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Path, bytes]]:
    """A data set that every example spoils anew, and its metadata."""
    root = write_lerobot(tmp_path_factory.mktemp("fuzz"), (2, 1))
    (root / "meta" / "stats.json").write_text("{}")
    paths = [path for path in sorted(root.rglob("*")) if path.suffix in (".json", ".parquet")]
    return root, {path: path.read_bytes() for path in paths}


def restore(contents: dict[Path, bytes]) -> None:
    for path, content in contents.items():
        path.write_bytes(content)


def opened_or_refused(root: Path) -> None:
    """Opens a data set and reads a picture of each recording."""
    begun = time.process_time()
    try:
        for recording in open_dataset(root).recordings:
            assert recording.length >= 1 and recording.views and isinstance(recording.instruction, str)
            assert recording.states is None or len(recording.states) == recording.length
            recording.images([recording.length - 1], len(recording.views))
    except BadInputError as error:
        assert str(error)
    assert time.process_time() - begun < MOST_SECONDS


def spoil(whole: Any, place: tuple[Any, ...], value: Any) -> None:
    for key in place[:-1]:
        whole = whole[key]
    if value == DELETED:
        del whole[place[-1]]
    else:
        whole[place[-1]] = value


INFO_PLACES = [
    ("codebase_version",), ("fps",), ("features",), ("total_episodes",), ("features", VIEWS[0]),
    ("features", VIEWS[0], "dtype"), ("features", VIEWS[0], "shape"), ("features", "observation.state"),
]  # fmt: skip


@REPEATABLE
@given(places=st.lists(st.sampled_from(INFO_PLACES), min_size=1, max_size=3, unique=True), data=st.data())
def test_any_description(
    lerobot: tuple[Path, dict[Path, bytes]], places: list[tuple[str, ...]], data: st.DataObject
) -> None:
    root, contents = lerobot
    restore(contents)
    info = json.loads(contents[root / "meta" / "info.json"])
    for place in sorted(places, key=len, reverse=True):
        spoil(info, place, data.draw(values | st.just(DELETED)))
    (root / "meta" / "info.json").write_text(json.dumps(info))
    opened_or_refused(root)


@REPEATABLE
@given(whole=values, name=st.sampled_from(["info.json", "stats.json", "tasks.json"]))
def test_any_json_in_place_of_a_file(lerobot: tuple[Path, dict[Path, bytes]], whole: Any, name: str) -> None:
    root, contents = lerobot
    restore(contents)
    (root / "meta" / name).write_text(json.dumps(whole))
    opened_or_refused(root)


# A column of a table has one type, and Parquet knows no larger numbers.
columns = st.one_of(
    *(st.lists(st.none() | kind, min_size=3, max_size=3) for kind in (
        st.sampled_from([0, 1, 2, -1, 7, 2**31, 2**62, 2**63 - 1, -(2**63)]),
        st.sampled_from([0.0, 0.1, 0.2, -0.1, 1e300, -1e300, math.nan, math.inf, 1e-300, 1e15]),
        st.booleans(),
        st.sampled_from(["", "0", "task", "../../x", "ä" * 300]),
        st.binary(max_size=3),
        st.lists(st.floats(width=32), max_size=4),
        st.lists(st.sampled_from(["", "task", "\0"]), max_size=2),
        st.fixed_dictionaries({"a": st.none() | st.integers(0, 3)}),
        st.dates(), st.datetimes(), st.decimals(-5, 5, places=2),
    ))
)  # fmt: skip


@REPEATABLE
@given(table=st.sampled_from(["meta/episodes", "data"]), data=st.data())
def test_any_column_of_a_table(lerobot: tuple[Path, dict[Path, bytes]], table: str, data: st.DataObject) -> None:
    import pyarrow.parquet

    root, contents = lerobot
    restore(contents)
    path = root / table / "chunk-000" / "file-000.parquet"
    content = pyarrow.parquet.read_table(path).to_pydict()
    rows = len(content["episode_index"])
    for name in data.draw(st.lists(st.sampled_from(sorted(content)), min_size=1, max_size=2, unique=True)):
        new = data.draw(columns | st.just(DELETED))
        if new == DELETED:
            del content[name]
        else:
            content[name] = new[:rows]
    write_table(path, content)
    opened_or_refused(root)


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = write_trajectories(tmp_path_factory.mktemp("annotated"), (3,))
    return root, (root / "annotation" / "val" / "0.json").read_text()


ANNOTATION_PLACES = [
    ("texts",), ("texts", 0), ("videos",), ("videos", 0), ("videos", 0, "video_path"), ("video_length",), ("states",),
    ("states", 1), ("states", 2, 0), ("views",), ("state",), ("episode_id",),
]  # fmt: skip


@REPEATABLE
@given(place=st.sampled_from(ANNOTATION_PLACES), value=values)
def test_any_annotation(annotated: tuple[Path, str], place: tuple[Any, ...], value: Any) -> None:
    root, content = annotated
    note = json.loads(content)
    spoil(note, place, value)
    (root / "annotation" / "val" / "0.json").write_text(json.dumps(note))
    opened_or_refused(root)
