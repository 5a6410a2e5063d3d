"""Bundles as a model hub's cache keeps them: every file a link to its content, which is held to the same rules."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vpp_edge import EdgePolicy
from vpp_edge.bundle.manifest import Bundle
from vpp_edge.cli.main import main
from vpp_edge.errors import BundleError

REVISION = "5f0c1d4e9b7a"


def cached(bundle: Path, root: Path, name_of: Callable[[bytes], str] = lambda c: hashlib.sha256(c).hexdigest()) -> Path:
    """The snapshot folder of a cache that holds a bundle, as Hugging Face's library lays it out."""
    model = root / "models--someone--mango"
    snapshot, blobs = model / "snapshots" / REVISION, model / "blobs"
    blobs.mkdir(parents=True)
    for path in (p for p in bundle.rglob("*") if p.is_file()):
        link = snapshot / path.relative_to(bundle)
        link.parent.mkdir(parents=True, exist_ok=True)
        blob = blobs / name_of(path.read_bytes())
        shutil.copyfile(path, blob)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


@pytest.fixture
def snapshot(small_bundle: Path, tmp_path: Path) -> Path:
    return cached(small_bundle, tmp_path)


def test_it_is_hashed_loaded_and_run(small_bundle: Path, snapshot: Path) -> None:
    Bundle(snapshot).verify_all()
    results = []
    for path in (small_bundle, snapshot):
        policy = EdgePolicy.load(path, seed=0)
        policy.instruct("stack the blocks")
        frames = np.zeros(policy.spec.frames_shape, np.uint8)
        results.append(policy.infer(frames, np.zeros(19, np.float32)).actions)
    np.testing.assert_array_equal(*results)


def test_small_files_are_named_by_their_git_hash(small_bundle: Path, tmp_path: Path) -> None:
    Bundle(cached(small_bundle, tmp_path, lambda content: hashlib.sha1(content).hexdigest())).verify_all()


@pytest.mark.parametrize("command", [["inspect"], ["inspect", "--hash"], ["verify", "--hashes-only"]])
def test_the_commands_take_it(capsys: pytest.CaptureFixture[str], snapshot: Path, command: list[str]) -> None:
    assert main([command[0], str(snapshot), *command[1:]]) == 0


def blob_of(link: Path) -> Path:
    return link.parent / os.readlink(link)


def alter(link: Path) -> None:
    content = bytearray(blob_of(link).read_bytes())
    content[len(content) // 2] ^= 1
    blob_of(link).write_bytes(content)


def exchange(link: Path) -> None:
    """The link leads to the content of another file of the cache."""
    link.unlink()
    link.symlink_to(os.path.relpath(blob_of(link.with_name("text.onnx")), link.parent))


def link_the_blob(link: Path) -> None:
    blob = blob_of(link)
    blob.symlink_to(blob.rename(blob.with_name("elsewhere")))


def lead_outside(link: Path) -> None:
    blob = blob_of(link)
    outside = blob.parent.parent / "outside"
    outside.mkdir()
    link.unlink()
    link.symlink_to(os.path.relpath(blob.rename(outside / blob.name), link.parent))


def become_pipe(link: Path) -> None:
    blob = blob_of(link)
    blob.unlink()
    os.mkfifo(blob)


def link_hard(link: Path) -> None:
    os.link(blob_of(link), link.parent / "second")


COPYING = "use the copy: cp -rL "
DAMAGES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "altered": (alter, ("changed since export",)),
    "exchanged": (exchange, ("bytes, the manifest states",)),
    "missing": (lambda link: blob_of(link).unlink(), ("missing",)),
    "link to a link": (link_the_blob, ("a link or not a plain file", COPYING)),
    "link elsewhere": (lead_outside, ("a link or not a plain file", COPYING)),
    "named pipe": (become_pipe, ("not a regular file",)),
    "hard link": (link_hard, ("exactly one link", COPYING)),
}


@pytest.mark.timeout(60, func_only=True)  # detects waiting for a pipe
@pytest.mark.parametrize("damage", DAMAGES)
def test_what_a_link_leads_to_is_not_trusted(snapshot: Path, damage: str) -> None:
    change, said = DAMAGES[damage]
    change(snapshot / "onnx" / "act.onnx")
    with pytest.raises(BundleError) as error:
        Bundle(snapshot).verify_all()
    assert all(words in str(error.value) for words in ("act.onnx", *said))
    assert (COPYING in str(error.value)) == (COPYING in said)


def test_the_command_that_the_error_names_makes_a_bundle(
    capsys: pytest.CaptureFixture[str], snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead_outside(snapshot / "onnx" / "act.onnx")
    assert main(["verify", str(snapshot), "--hashes-only"]) == 2
    command = capsys.readouterr().err.strip().partition("use the copy: ")[2]
    monkeypatch.chdir(tmp_path)
    assert os.system(command) == 0
    assert main(["verify", f"{REVISION}-copy", "--hashes-only"]) == 0


def test_what_reads_graphs_by_their_path_asks_for_a_copy(
    capsys: pytest.CaptureFixture[str], snapshot: Path, robot_recordings: Path, tmp_path: Path
) -> None:
    for words in (
        ["export", snapshot, "--precision", "fp16", "-o", tmp_path / "fp16", "--quiet"],
        ["calibrate", snapshot, robot_recordings, "-o", tmp_path / "table.json", "--quiet"],
    ):
        assert main([str(word) for word in words]) == 2
        assert COPYING in capsys.readouterr().err
    assert not (tmp_path / "fp16").exists() and not (tmp_path / "table.json").exists()
