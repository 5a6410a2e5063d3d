"""Recognizes files that stand where data should be: pointers, web pages, archives, unfinished downloads.

Tools that fetch data leave such files behind under the right name. A reader asks here when a file makes no sense to it,
or before it reads, so that its error says what the file is rather than that "PAR1" is missing.
"""

from __future__ import annotations

from pathlib import Path

_LOOKED_AT = 512  # bytes; the mark of a tar archive is at 257
_TAR_MARK = slice(257, 262)
_MARKUP = (b"<!doctype", b"<html", b"<head", b"<body", b"<script", b"<?xml", b"<error", b"<!--")
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")

_LFS = "a Git LFS pointer, not the data; run `git lfs install && git lfs pull` in its repository"
_ANNEX = "a git-annex pointer, not the data; run `git annex get` on it in its repository"
_APPLE_DOUBLE = "what macOS keeps beside a file on other disks (AppleDouble), not the data; use the file without `._`"
_PAGE = (
    "a web page (HTML or XML), which servers send when a login or another address is needed; "
    "download the file itself again"
)
_REPLY = "the error message of a server ({reply!r}), not the data; log in or correct the address, and download it again"
_ARCHIVE = "{kind} archive; unpack it and give what is in it"
_ZEROS = "nothing but zeros at its beginning, as an unfinished download; download or copy it again"

_POINTERS = {
    b"version https://git-lfs.github.com/spec/": _LFS,
    b"version https://hawser.github.com/spec/": _LFS,  # its name before the first release
    b"/annex/objects/": _ANNEX,
    b"\x00\x05\x16\x07": _APPLE_DOUBLE,
}
# Whole answers of model hubs, which `curl` and `wget` save as if they were the file.
_REPLIES = (
    b"entry not found",
    b"repository not found",
    b"invalid username or password",
    b"access to model",
    b"access to dataset",
    b"404: not found",
    b"404 page not found",
    b"not found",
    b"unauthorized",
    b"forbidden",
)
_ARCHIVES = {
    b"\x1f\x8b": "a gzip",
    b"BZh": "a bzip2",
    b"\xfd7zXZ\x00": "an xz",
    b"\x28\xb5\x2f\xfd": "a Zstandard",
    b"\x04\x22\x4d\x18": "an LZ4",
    b"7z\xbc\xaf\x27\x1c": "a 7z",
    b"Rar!\x1a\x07": "a RAR",
}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


def foreign_content(path: Path, *, zipped: bool = False) -> str | None:
    """What a file is instead of the data that its name promises, with the remedy, to follow `{path}: ` in a message.

    Args:
        zipped: the expected format is itself a zip archive, as `.npz` and PyTorch's `.pt` are.

    Returns:
        For example `a Git LFS pointer, not the data; run ...`; None for a file that is none of these, is empty, or
        cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_LOOKED_AT)
    except (OSError, ValueError):
        return None
    for mark, meaning in _POINTERS.items():
        if start.startswith(mark):
            return meaning
    return _archive(start, zipped) or _text(start) or (_ZEROS if len(start) == _LOOKED_AT and not any(start) else None)


def _archive(start: bytes, zipped: bool) -> str | None:
    kinds = [kind for mark, kind in _ARCHIVES.items() if start.startswith(mark)]
    if not zipped and start.startswith(_ZIP):
        kinds.append("a zip")
    if start[_TAR_MARK] == b"ustar":
        kinds.append("a tar")
    return _ARCHIVE.format(kind=kinds[0]) if kinds else None


def _text(start: bytes) -> str | None:
    for mark in _BYTE_ORDER_MARKS:
        start = start.removeprefix(mark)
    text = start.replace(b"\0", b"").strip()  # UTF-16 too
    if text.lower().startswith(_MARKUP):
        return _PAGE
    if len(start) < _LOOKED_AT and text.lower().startswith(_REPLIES):
        return _REPLY.format(reply=text.splitlines()[0].decode("utf-8", "replace")[:60])
    return None
