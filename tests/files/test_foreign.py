"""Pointers, web pages, archives and unfinished downloads are recognized under any name, and every reader names them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from made_datasets import write_lerobot, write_trajectories

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.calibration.datasets import open_dataset
from vpp_edge.checkpoint.files import read_json
from vpp_edge.cli.main import main
from vpp_edge.errors import BadInputError
from vpp_edge.files.foreign import foreign_content
from vpp_edge.runtime.cameras.config import camera_from_text
from vpp_edge.runtime.hands.config import config_from_file
from vpp_edge.runtime.hands.leap import LeapConfig
from vpp_edge.verification.verify import verify_golden
from vpp_edge.workflow.exporting import read_table


def tar(name: str = "a.json", content: bytes = b"{}") -> bytes:
    """A tar archive with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        record = tarfile.TarInfo(name)
        record.size = len(content)
        archive.addfile(record, io.BytesIO(content))
    return buffer.getvalue()


def zipped(name: str = "a.json", content: bytes = b"{}") -> bytes:
    """A zip archive with one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


FOREIGN = {
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 6094\n", "git lfs pull"),
    "annex": (b"/annex/objects/SHA256E-s2--0123.mp4\n", "git annex get"),
    "macOS": (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", "AppleDouble"),
    "html": (b"<!DOCTYPE html>\n<html><head><title>Sign in", "web page"),
    "late html": (b"\xef\xbb\xbf\r\n  <HTML lang=en>", "web page"),
    "html in UTF-16": ("<!doctype html>".encode("utf-16"), "web page"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "web page"),
    "reply": (b"Entry not found", "error message of a server .'Entry not found'"),
    "login": (b"Invalid username or password.", "error message of a server"),
    "gzip": (gzip.compress(b"{}"), "gzip archive; unpack"),
    "bzip2": (bz2.compress(b"{}"), "bzip2 archive; unpack"),
    "xz": (lzma.compress(b"{}"), "xz archive; unpack"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\x00\x09", "Zstandard archive; unpack"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00\x04", "7z archive; unpack"),
    "rar": (b"Rar!\x1a\x07\x01\x00", "RAR archive; unpack"),
    "tar": (tar(), "tar archive; unpack"),
    "zip": (zipped(), "zip archive; unpack"),
    "empty zip": (b"PK\x05\x06" + bytes(18), "zip archive; unpack"),
    "zeros": (bytes(4096), "unfinished download"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_recognized_under_any_name(tmp_path: Path, kind: str) -> None:
    content, said = FOREIGN[kind]
    path = tmp_path / "file-000.parquet"
    path.write_bytes(content)
    assert re.search(said, foreign_content(path) or "")


def npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, frames=np.zeros((2, 2), np.uint8))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"fps": 10}', b"PAR1" + bytes(600), b"\x00\x00\x00\x20ftypisom", b"\x89MCAP0\r\n", b"#ROSBAG V2.0\n",
     b"<\x21" + bytes(6) + b'{"__metadata__"', b"\x80\x02}q\x00.", b"Not foundry data" + bytes(600), bytes(100)],
)  # fmt: skip
def test_data_is_not_mistaken_for_a_foreign_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data"
    path.write_bytes(content)
    assert foreign_content(path) is None


def test_formats_that_are_zip_archives_themselves_are_no_archives(tmp_path: Path) -> None:
    path = tmp_path / "parity.npz"
    path.write_bytes(npz())
    assert foreign_content(path, zipped=True) is None
    assert "zip archive" in str(foreign_content(path))


def test_what_cannot_be_read_is_not_named(tmp_path: Path) -> None:
    assert foreign_content(tmp_path) is None
    assert foreign_content(tmp_path / "missing") is None


@pytest.fixture(scope="module")
def data_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each layout."""
    root = tmp_path_factory.mktemp("data")
    write_lerobot(root / "lerobot", (2,))
    write_trajectories(root / "own", (2,))
    return root


PARTS = [
    "lerobot/meta/info.json",
    "lerobot/meta/episodes/chunk-000/file-000.parquet",
    "lerobot/data/chunk-000/file-000.parquet",
    "lerobot/videos/observation.images.static/chunk-000/file-000.mp4",
    "own/annotation/val/0.json",
    "own/videos/val/0/0.mp4",
]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kind", FOREIGN)
def test_every_file_of_a_data_set_is_named(data_sets: Path, tmp_path: Path, part: str, kind: str) -> None:
    pytest.importorskip("av")
    content, said = FOREIGN[kind]
    root = shutil.copytree(data_sets, tmp_path / "copy")
    (root / part).write_bytes(content)
    with pytest.raises(BadInputError, match=rf"{re.escape(part)}: .*{said}"):
        open_dataset(root / part.partition("/")[0]).recordings[0].images([0], 1)


READERS: dict[str, Callable[[Path], Any]] = {
    "a data set": open_dataset,
    "a table of ranges": read_table,
    "a hand": lambda path: config_from_file(LeapConfig, path),
    "golden results": lambda path: verify_golden(cast(Any, None), path),
    "a configuration of a checkpoint": lambda path: read_json(path, "the configuration"),
    "a bundle": Bundle,
    "a video as a camera": lambda path: camera_from_text(f"video:{path}"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", FOREIGN)
def test_every_reader_names_them(tmp_path: Path, reader: str, kind: str) -> None:
    content, said = FOREIGN[kind]
    path = tmp_path / "given.json"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=rf"given\.json: .*{said}"):
        READERS[reader](path)


def test_a_manifest_that_was_not_fetched_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(FOREIGN["lfs"][0])
    with pytest.raises(BadInputError, match=r"manifest\.json: .*git lfs pull"):
        Bundle(tmp_path)


def test_a_command_ends_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.tar.gz"
    path.write_bytes(FOREIGN["gzip"][0])
    assert main(["inspect", str(path)]) == 2
    assert "policy.tar.gz: a gzip archive; unpack it" in capsys.readouterr().err
