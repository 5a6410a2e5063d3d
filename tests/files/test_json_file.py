"""JSON in any Unicode encoding, with or without a byte order mark, is read; everything else is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vpp_edge.errors import BadInputError, CheckpointError
from vpp_edge.files.json_file import read_json_file

TEXT = '{"task": "Größe, 手"}'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(TEXT.encode(encoding))
    assert read_json_file(path, "a task") == {"task": "Größe, 手"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not readable as JSON"),
        (b"{", "not readable as JSON"),
        (b"\xff", "not readable as JSON"),
        (b"[" * 100_000, "not readable as JSON"),
        (b"1" * 5000, "not readable as JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x1f\x8b\x08\x00", "gzip archive"),
    ],
)
def test_what_is_no_json_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"a\.json: .*{said}"):
        read_json_file(path, "a task", error=CheckpointError)


def test_missing_large_and_special_files_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b" " * 11)
    for name, said in (("none", "missing; it should hold a task"), ("pipe", "not a file"), ("", "not a file"),
                       ("large", "larger than 10 bytes; this is not a task"), ("x" * 5000, "task")):  # fmt: skip
        with pytest.raises(BadInputError, match=said):
            read_json_file(tmp_path / name, "a task", most_bytes=10)
