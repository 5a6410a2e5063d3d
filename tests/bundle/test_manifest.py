"""Untrusted bundles: names that lead outside and files that do not match are refused before an engine opens one."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from edited import edit_json
from hypothesis import given, settings
from hypothesis import strategies as st

from vpp_edge import EdgePolicy
from vpp_edge.bundle.manifest import SCHEMA_VERSION, Bundle, manifest_from_json
from vpp_edge.errors import BadInputError, BundleError

SHA = "0" * 64
SPEC = {
    "variant": "calvin",
    "cameras": [{"name": "static", "height": 64, "width": 64}],
    "frames": 16, "latent": [4, 8, 8], "tokens": [32, 32], "text_lengths": [20, 77], "pad_token_id": 1,
    "action": {
        "dims": 7, "horizon": 4, "period_ns": 100, "bounds": None,
        "segments": [{"kind": "raw", "start": 0, "size": 7, "unit": "1"}],
    },
    "state": None, "sigmas": [80.0, 0.0], "sampler": "ddim", "notes": [],
}  # fmt: skip
STAGE = {
    "name": "act",
    "graph": "onnx/act.onnx",
    "weights": "onnx/act.onnx.data",
    "precision": "fp32",
    "inputs": [{"name": "tokens", "dtype": "float32", "shape": [1, 32, 32]}],
    "outputs": [{"name": "actions", "dtype": "float32", "shape": [1, 4, 7]}],
}
FILES = {name: {"sha256": SHA, "bytes": 3} for name in ("onnx/act.onnx", "onnx/act.onnx.data", "tokenizer.json")}


def manifest() -> dict[str, Any]:
    return copy.deepcopy(
        {
            "schema_version": SCHEMA_VERSION,
            "policy": SPEC,
            "stages": [STAGE],
            "files": FILES,
            "tokenizer": "tokenizer.json",
            "provenance": {},
            "certificate": {},
        }
    )


def test_a_manifest_is_read_back_as_it_was_written() -> None:
    first = manifest_from_json(manifest())
    assert manifest_from_json(json.loads(json.dumps(first.to_json()))) == first


UNSAFE = [
    "../x", "x/../../y", "..", ".", "", "/etc/passwd", "a//b", "a/", "/a", "a/./b", "./a", "a\\b", "C:x", "a\0b", "a b",
    "a\nb", "~/x", "a/..", "..a/..", "ä", "ａ", "a\u202eb", ".hidden", "a..b", "-\u0000", "con:",
]  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("place", ["files", "graph", "weights", "tokenizer"])
def test_names_that_may_lead_outside_are_refused(name: str, place: str) -> None:
    data = manifest()
    if place == "tokenizer":
        data["tokenizer"] = name
    elif place == "files":
        data["files"][name] = {"sha256": SHA, "bytes": 3}
    else:
        data["stages"][0][place] = name
    with pytest.raises(BundleError, match="not a plain path inside the bundle; nothing was loaded"):
        manifest_from_json(data)


@given(st.text(max_size=20))
@settings(max_examples=500, deadline=None)
def test_an_accepted_name_stays_inside(name: str) -> None:
    data = manifest()
    data["files"][name] = {"sha256": SHA, "bytes": 3}
    try:
        manifest_from_json(data)
    except BundleError:
        return
    inside = Path("/bundle")
    assert name.isascii()
    assert os.path.normpath(inside / name) == f"/bundle/{name}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(JSON)
@settings(max_examples=200, deadline=None)
def test_any_other_json_is_refused(data: Any) -> None:
    with pytest.raises(BundleError):
        manifest_from_json(data)


def paths_into(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path] * bool(path) + [p for key, value in items for p in paths_into(value, (*path, key))]


@given(where=st.sampled_from(paths_into(manifest())), value=JSON, remove=st.booleans())
@settings(max_examples=400, deadline=None)
def test_one_wrong_value_is_refused_or_harmless(where: tuple[Any, ...], value: Any, remove: bool) -> None:
    """Whatever stands in one place of a good manifest: a manifest, or a BundleError, and no other error."""
    data = manifest()
    inner: Any = data
    for key in where[:-1]:
        inner = inner[key]
    if remove:
        del inner[where[-1]]
    else:
        inner[where[-1]] = value
    with contextlib.suppress(BundleError):
        manifest_from_json(data)


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION - 1, SCHEMA_VERSION + 1, "1", None, 1.5, [1]])
def test_another_schema_version_is_named(version: Any) -> None:
    with pytest.raises(BundleError, match=rf"schema version .*reads {SCHEMA_VERSION}"):
        manifest_from_json(manifest() | {"schema_version": version})


@pytest.mark.parametrize("field", sorted(set(manifest()) - {"schema_version"}))
def test_a_missing_field_is_named(field: str) -> None:
    data = manifest()
    del data[field]
    with pytest.raises(BundleError, match=f"incomplete or malformed: KeyError: '{field}'"):
        manifest_from_json(data)


def test_a_stage_file_without_a_hash_is_refused() -> None:
    data = manifest()
    del data["files"]["onnx/act.onnx.data"]
    with pytest.raises(BundleError, match=r"names 'onnx/act\.onnx\.data' without its hash"):
        manifest_from_json(data)


@pytest.mark.parametrize("sha256", ["", "0" * 63, "g" * 64, "0" * 64 + "\n", 3, None, "A" * 64])
def test_anything_but_a_sha256_is_refused(sha256: Any) -> None:
    data = manifest()
    data["files"]["tokenizer.json"]["sha256"] = sha256
    with pytest.raises(BundleError, match=r"SHA-256 of 'tokenizer\.json'"):
        manifest_from_json(data)


def fill_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link_to_original(path: Path) -> None:
    original = path.with_name("original")
    path.rename(original)
    path.symlink_to(original)


def link_hard(path: Path) -> None:
    os.link(path, path.parent.parent.parent / "second name")


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def become_socketless_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def alter_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def link_folder(path: Path) -> None:
    elsewhere = path.parent.parent.parent / "elsewhere"
    path.parent.rename(elsewhere)
    path.parent.symlink_to(elsewhere)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "altered byte": (alter_a_byte, "changed since export"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:-1]), "bytes, the manifest states"),
    "grown": (lambda p: p.write_bytes(p.read_bytes() + b"\0"), "bytes, the manifest states"),
    "empty": (lambda p: p.write_bytes(b""), "0 bytes, the manifest states"),
    "missing": (lambda p: p.unlink(), "missing"),
    "symbolic link": (link_to_original, "a link or not a plain file"),
    "device": (become_socketless_device, "a link or not a plain file"),
    "linked folder": (link_folder, "a link or not a plain file"),
    "hard link": (link_hard, "not a regular file with exactly one link"),
    "named pipe": (fill_pipe, "not a regular file with exactly one link"),
    "folder": (become_folder, "not a regular file with exactly one link"),
}


@pytest.mark.timeout(60, func_only=True)  # detects waiting for a pipe
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["onnx/act.onnx", "onnx/perceive.onnx.data"])
def test_a_file_that_is_not_as_stated_is_refused_before_it_reaches_an_engine(
    bundle_copy: Path, damage: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    graphs: list[bytes] = []
    opened = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda graph, *a, **k: graphs.append(graph) or opened(graph, *a, **k)
    )
    original = (bundle_copy / name).read_bytes()
    change, said = DAMAGES[damage]
    change(bundle_copy / name)
    with pytest.raises(BundleError, match=said) as error:
        EdgePolicy.load(bundle_copy)
    assert name in str(error.value) or damage == "linked folder"
    assert original not in graphs
    with pytest.raises(BundleError, match=said):
        Bundle(bundle_copy).verify_all()


def test_a_file_that_grows_while_it_is_read_gives_the_bytes_that_were_hashed(bundle_copy: Path) -> None:
    path = bundle_copy / "onnx" / "act.onnx"
    whole, bundle, stop = path.read_bytes(), Bundle(bundle_copy), threading.Event()

    def grow() -> None:
        while not stop.is_set():
            with path.open("ab") as file:
                file.write(b"more")
            os.truncate(path, len(whole))

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        for _ in range(50):
            try:
                assert bytes(bundle.open_verified("onnx/act.onnx")) == whole
            except BundleError as error:
                assert "act.onnx: " in str(error)
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b'"x"', b"NaN", b"{}"])
def test_a_file_that_is_not_a_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle(tmp_path)


def test_an_endless_manifest_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(20 << 20)
    with pytest.raises(BundleError, match="larger than"):
        Bundle(tmp_path)


def test_a_manifest_may_not_be_a_link(bundle_copy: Path) -> None:
    link_to_original(bundle_copy / "manifest.json")
    with pytest.raises(BundleError, match="a link or not a plain file"):
        Bundle(bundle_copy)


def test_a_folder_that_is_no_bundle_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="vpp-edge export"):
        Bundle(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"manifest\.json: missing"):
        Bundle(tmp_path)


def test_a_bundle_may_lie_behind_a_link(bundle_copy: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(bundle_copy)
    Bundle(tmp_path / "current").verify_all()


def test_a_forged_signature_is_refused_at_load(bundle_copy: Path) -> None:
    def forge(data: dict[str, Any]) -> None:
        (act,) = (s for s in data["stages"] if s["name"] == "act")
        act["outputs"][0]["shape"] = [1, 4, 19]

    edit_json(bundle_copy / "manifest.json", forge)
    with pytest.raises(BundleError, match="stage act: the outputs of its graph are"):
        EdgePolicy.load(bundle_copy)


def test_a_bundle_without_a_stage_is_refused(bundle_copy: Path) -> None:
    edit_json(bundle_copy / "manifest.json", lambda data: data.update(stages=data["stages"][:2]))
    with pytest.raises(BundleError, match="has no stage 'act'"):
        EdgePolicy.load(bundle_copy)


def test_a_file_that_the_manifest_does_not_list_is_not_opened(bundle_copy: Path) -> None:
    shutil.copy(bundle_copy / "tokenizer.json", bundle_copy / "extra.json")
    with pytest.raises(BundleError, match=r"does not list 'extra\.json'"):
        Bundle(bundle_copy).open_verified("extra.json")


def test_errors_of_a_bundle_are_bad_input() -> None:
    assert issubclass(BundleError, BadInputError)
    assert BundleError("x").exit_status == 2
