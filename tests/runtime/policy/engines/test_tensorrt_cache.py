"""The engine cache: it returns what was stored, and nothing damaged or foreign."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from vpp_edge.errors import BadInputError, BundleError
from vpp_edge.runtime.policy.engines.tensorrt.cache import EngineCache, EngineKey
from vpp_edge.runtime.policy.engines.tensorrt.flags import BuildFlags, memory_pools_from_text

KEY = EngineKey(
    stage="act",
    graph="a" * 64,
    weights="b" * 64,
    library="tensorrt",
    version="10.3.0",
    cuda="12.6",
    sm="87",
    flags=BuildFlags().to_json(),
)
PLAN = memoryview(b"an engine" * 1000)
OTHERS = {
    "stage": "text",
    "graph": "c" * 64,
    "weights": None,
    "library": "tensorrt_rtx_bindings",
    "version": "10.16.0",
    "cuda": "13.2",
    "sm": "86",
    "flags": BuildFlags(tf32=True).to_json(),
}


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    cache = EngineCache(tmp_path)
    cache.store(KEY, PLAN, seconds=1.5, layers=7)
    return cache


def test_a_stored_engine_is_returned(cache: EngineCache) -> None:
    record = cache.find(KEY)
    assert record is not None and (record.size, record.layers, record.seconds) == (PLAN.nbytes, 7, 1.5)
    assert bytes(cache.open_verified(record)) == PLAN
    assert sorted(p.name for p in cache.path.iterdir()) == [KEY.file, KEY.file.replace(".engine", ".json")]


@pytest.mark.parametrize(("part", "value"), OTHERS.items(), ids=OTHERS.keys())
def test_every_part_of_the_key_selects_another_engine(cache: EngineCache, part: str, value: object) -> None:
    assert cache.find(replace(KEY, **{part: value})) is None


def test_the_runtime_uses_the_newest_engine_of_any_flags(cache: EngineCache) -> None:
    newer = replace(KEY, flags=BuildFlags(optimization_level=5).to_json())
    cache.store(newer, PLAN, seconds=1, layers=7)
    assert (found := cache.fitting(KEY)) is not None and found.key == newer
    for part in ("stage", "graph", "weights", "library", "version", "cuda", "sm"):
        assert cache.fitting(replace(KEY, **{part: OTHERS[part]})) is None


def test_a_changed_byte_is_rejected(cache: EngineCache) -> None:
    path = cache.path / KEY.file
    content = bytearray(path.read_bytes())
    content[4321] ^= 1
    path.write_bytes(content)
    record = cache.find(KEY)
    assert record is not None
    with pytest.raises(BundleError, match="rejected before TensorRT saw it"):
        cache.open_verified(record)


@pytest.mark.parametrize("kind", ["symbolic", "hard", "missing", "empty"])
def test_a_foreign_engine_file_is_rejected(cache: EngineCache, tmp_path: Path, kind: str) -> None:
    path = cache.path / KEY.file
    outside = path.rename(tmp_path / "outside")
    if kind == "symbolic":
        path.symlink_to(outside)
    elif kind == "hard":
        path.hardlink_to(outside)
    elif kind == "empty":
        path.touch()
    record = cache.find(KEY)
    assert record is not None
    with pytest.raises(BundleError, match=r"refused|rejected|missing"):
        cache.open_verified(record)


@pytest.mark.parametrize("change", ["text", "list", "key", "version", "extra", "link", "deep"])
def test_a_foreign_record_is_ignored(cache: EngineCache, tmp_path: Path, change: str) -> None:
    path = cache.path / KEY.file.replace(".engine", ".json")
    data = json.loads(path.read_text())
    if change == "link":
        path.symlink_to(path.rename(tmp_path / "outside"))
    else:
        texts = {
            "text": "no record",
            "list": "[]",
            "deep": "[" * 100_000,
            "key": json.dumps({**data, "key": {**data["key"], "sm": "86"}}),
            "version": json.dumps({**data, "schema_version": 2}),
            "extra": json.dumps({**data, "path": "/etc/passwd"}),
        }
        path.write_text(texts[change])
    assert cache.find(KEY) is None and cache.records() == []


def test_a_linked_folder_is_not_written_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "engines").symlink_to(outside)
    with pytest.raises(BadInputError, match="cannot be written"):
        EngineCache(bundle).store(KEY, PLAN, seconds=1, layers=1)
    assert not list(outside.iterdir())


def test_pruning_keeps_what_is_not_replaced(cache: EngineCache) -> None:
    kept = [replace(KEY, **{part: OTHERS[part]}) for part in ("stage", "library", "sm")]
    replaced = [replace(KEY, **{part: OTHERS[part]}) for part in ("graph", "version", "flags")]
    for key in (*kept, *replaced):
        cache.store(key, PLAN, seconds=1, layers=1)
    assert sorted(cache.prune(KEY)) == sorted(key.file for key in replaced)
    assert {r.key.file for r in cache.records()} == {key.file for key in (KEY, *kept)}


def test_memory_pools_are_parsed_like_trtexec() -> None:
    assert memory_pools_from_text("workspace:1024,tacticSharedMem:48K") == (
        ("workspace", 1 << 30),
        ("tacticSharedMem", 48 << 10),
    )
    for text in ("workspace", "workspace:", "dlaSRAM:1", "workspace:1T", "workspace:-1", ""):
        with pytest.raises(BadInputError, match="memPoolSize"):
            memory_pools_from_text(text)


@pytest.mark.parametrize(
    "values",
    [{"optimization_level": 6}, {"max_aux_streams": -1}, {"tiling": "most"}, {"profiling_verbosity": "loud"}],
)
def test_flags_out_of_range_are_rejected(values: dict[str, object]) -> None:
    with pytest.raises(BadInputError, match="expected"):
        BuildFlags(**values)
