"""Pointers, web pages, archives and unfinished downloads are recognized under any name, and data is not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vpp_edge.foreign_files import foreign_content


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
