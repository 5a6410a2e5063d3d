"""The cached engines of a bundle, stored in its folder `engines/` and verified by hash.

A file is named `<stage>-sm<SM>-<first 16 digits of the key>.engine`; the key is the SHA-256 of everything that
determines the engine. Next to it, a record (`.json`) holds these parts and the hash of the engine. None of this is in
the manifest, because engines are built on the device. Like those of the manifest, these hashes detect damage; they are
not a signature: with write access to the folder one can replace an engine together with its record.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vpp_edge.bundle.manifest import open_inside
from vpp_edge.errors import BadInputError, BundleError

FOLDER = "engines"
_SCHEMA = 1
_RECORD_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class EngineKey:
    """Everything that determines the content of an engine.

    Attributes:
        stage: its name.
        graph, weights: SHA-256 of the ONNX graph and of its external weights (None: it has none).
        library, version: module and version of the compiler.
        cuda: the CUDA version that the compiler was compiled for, or else that of the device's driver.
        sm: compute capability of the device that will run it.
        flags: every builder flag that changes the result.
    """

    stage: str
    graph: str
    weights: str | None
    library: str
    version: str
    cuda: str
    sm: str
    flags: dict[str, Any]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def file(self) -> str:
        return f"{self.stage}-sm{self.sm}-{self.sha256[:16]}.engine"

    def fits(self, other: EngineKey) -> bool:
        """Whether both are for the same stage and device, regardless of flags."""
        return {**asdict(self), "flags": None} == {**asdict(other), "flags": None}


@dataclass(frozen=True)
class EngineRecord:
    """An engine on disk.

    Attributes:
        sha256, size: of the engine file.
        seconds: time for parsing and compiling.
        layers: number of layers of the network, before fusion.
        created: seconds since the epoch.
    """

    key: EngineKey
    sha256: str
    size: int
    seconds: float
    layers: int
    created: float

    def to_json(self) -> dict[str, Any]:
        return {"schema_version": _SCHEMA, "key_sha256": self.key.sha256, **asdict(self)}


class EngineCache:
    """The folder `engines/` of a bundle."""

    def __init__(self, bundle: Path) -> None:
        self.path = bundle / FOLDER

    def find(self, key: EngineKey) -> EngineRecord | None:
        """The record of exactly this engine; None if there is none or it is damaged."""
        record = self._record(_record_name(key.file))
        return record if record is not None and record.key == key else None

    def fitting(self, key: EngineKey) -> EngineRecord | None:
        """The newest engine for the same stage and device, regardless of its build flags."""
        return max((r for r in self.records() if r.key.fits(key)), key=lambda r: r.created, default=None)

    def records(self) -> list[EngineRecord]:
        """All readable records."""
        names = sorted(path.name for path in self.path.glob("*.json")) if self.path.is_dir() else []
        return [record for record in map(self._record, names) if record is not None]

    def open_verified(self, record: EngineRecord) -> bytes | mmap.mmap:
        """The engine's bytes, with verified size and SHA-256.

        Raises:
            BundleError: the file is missing, a link, or differs in size or hash.
        """
        path = self.path / record.key.file
        descriptor = open_inside(self.path.parent, f"{FOLDER}/{record.key.file}")
        try:
            size = os.fstat(descriptor).st_size
            content: bytes | mmap.mmap = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) if size else b""
        finally:
            os.close(descriptor)
        if size != record.size or hashlib.sha256(content).hexdigest() != record.sha256:
            raise BundleError(
                f"{path}: changed since it was built; rejected before TensorRT saw it. "
                f"`vpp-edge build {self.path.parent}` builds it again."
            )
        return content

    def store(self, key: EngineKey, plan: memoryview, *, seconds: float, layers: int) -> EngineRecord:
        """Writes an engine and then its record, each atomically."""
        record = EngineRecord(
            key=key,
            sha256=hashlib.sha256(plan).hexdigest(),
            size=plan.nbytes,
            seconds=round(seconds, 3),
            layers=layers,
            created=round(time.time(), 3),
        )
        text = json.dumps(record.to_json(), indent=1) + "\n"
        with self._writable() as folder:
            _write_whole(folder, key.file, plan)
            _write_whole(folder, _record_name(key.file), memoryview(text.encode()))
        return record

    def prune(self, current: EngineKey) -> list[str]:
        """Removes the engines that this one replaces (same stage, library and device). Returns their names."""
        kept = {current.file, _record_name(current.file)}
        removed = []
        with self._writable() as folder:
            for name in sorted(os.listdir(folder)):
                if name in kept or not name.startswith(f"{current.stage}-sm{current.sm}-"):
                    continue
                record = self._record(_record_name(name))
                if record is None or record.key.library == current.library:
                    removed.append(name)
            for name in removed:
                os.unlink(name, dir_fd=folder)
        return [name for name in removed if name.endswith(".engine")]

    def _record(self, name: str) -> EngineRecord | None:
        """A record, or None if it was not written by `store`; the engine is then built again."""
        try:
            with os.fdopen(open_inside(self.path.parent, f"{FOLDER}/{name}"), "rb") as file:
                data = json.loads(file.read(_RECORD_MAX_BYTES))
            if data.pop("schema_version") != _SCHEMA:
                return None
            stated = data.pop("key_sha256")
            record = EngineRecord(**{**data, "key": EngineKey(**data["key"])})
        except (BundleError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        return record if record.key.sha256 == stated and _record_name(record.key.file) == name else None

    @contextmanager
    def _writable(self) -> Iterator[int]:
        """A descriptor of the folder, which is created if necessary and must not be a link."""
        try:
            self.path.mkdir(exist_ok=True)
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise BadInputError(f"{self.path}: engines cannot be written to this folder ({error.strerror})") from error
        try:
            yield folder
        except OSError as error:
            raise BadInputError(f"{self.path}: writing an engine failed ({error.strerror})") from error
        finally:
            os.close(folder)


def _record_name(engine: str) -> str:
    return engine.rpartition(".")[0] + ".json"


def _write_whole(folder: int, name: str, content: memoryview) -> None:
    """Writes a temporary file, flushes it to disk, then renames it, replacing an existing file.

    What killed builds left of the same name is removed first.
    """
    for left in os.listdir(folder):
        if left.startswith(f".{name}."):
            _remove_dead(folder, left)
    unfinished = f".{name}.{secrets.token_hex(4)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(unfinished, flags, 0o644, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with suppress(OSError):  # a file system without locks: then nothing on it is ever taken for dead
                fcntl.flock(file, fcntl.LOCK_EX)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(unfinished, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(unfinished, dir_fd=folder)
        raise
    os.fsync(folder)


def _remove_dead(folder: int, name: str) -> None:
    """Removes a temporary file unless its writer lives and holds its lock."""
    with suppress(OSError):
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=folder)
        finally:
            os.close(descriptor)
