"""The manifest of a bundle: parse an untrusted `manifest.json` and open files only after verifying their hashes.

Names come from the manifest only. A name is opened component by component without following links, must be a regular
file with one link and the stated size, and is hashed through the very descriptor that is then mapped; nothing reaches
an engine before that. The one link that is followed is that of a model hub's cache, from a file of the bundle to its
content under `blobs/`, which is then held to all the rest. A hash is not a signature: it detects damaged or replaced
files, not a replaced bundle.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpp_edge.errors import BadInputError, BundleError
from vpp_edge.files.foreign import foreign_content
from vpp_edge.spec.policy import PolicySpec, TensorSpec, policy_spec_from_json
from vpp_edge.suggestion import did_you_mean

SCHEMA_VERSION = 2  # 2: limits with their measure and physical errors in the certificate, kept observations
STUDENT = "student"  # in the provenance: the card of a distilled policy
ORIGIN = "vpp_edge."  # begins every key of a graph's metadata that says where it comes from
MANIFEST_NAME = "manifest.json"
PARITY_NAME = "parity.npz"  # a few observations with the reference outputs
CALIBRATION_NAME = "calibration.json"
_MANIFEST_MAX_BYTES = 16 << 20
_NAME = re.compile(r"[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)*")
# As Hugging Face's cache links a file: to its content, named by its SHA-256 or by its hash in git.
_HUB_BLOB = re.compile(r"(?:[^\0]*/)?blobs/(?:[0-9a-f]{64}|[0-9a-f]{40})")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileRecord:
    """SHA-256 (hex) and size of a file of the bundle."""

    sha256: str
    size: int


@dataclass(frozen=True)
class StageRecord:
    """One stage: its graph, the external weights of the graph, and its signature.

    Attributes:
        graph, weights: names of files of the bundle; `weights` is None for a graph without external data.
        precision: `fp32`, `fp16` or `int8`.
        sparse_share: share of its operations in products whose weights are 2:4 sparse.
    """

    name: str
    graph: str
    weights: str | None
    precision: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    sparse_share: float = 0.0


@dataclass(frozen=True)
class Manifest:
    """Everything in `manifest.json`.

    Attributes:
        policy: what the runtime must know.
        stages: by name.
        files: every file of the bundle but the manifest, by name relative to it, `/` between folders.
        tokenizer: name of the tokenizer file.
        provenance: where it came from: versions, checkpoint paths and hashes, options, STUDENT. For people and
            `verify`.
        certificate: parity measured at export (limits and errors per tensor).
    """

    policy: PolicySpec
    stages: Mapping[str, StageRecord]
    files: Mapping[str, FileRecord]
    tokenizer: str
    provenance: dict[str, Any]
    certificate: dict[str, Any]

    @property
    def precision(self) -> str:
        """The lowest of all stages: `int8`, `fp16` or `fp32`."""
        found = {stage.precision for stage in self.stages.values()}
        return next((p for p in ("int8", "fp16") if p in found), "fp32")

    @property
    def sparse(self) -> bool:
        """Whether any weights are 2:4 sparse."""
        return any(stage.sparse_share for stage in self.stages.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values, read back by `manifest_from_json`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "policy": self.policy.to_json(),
            "stages": [_stage_json(s) for s in self.stages.values()],
            "files": {name: {"sha256": f.sha256, "bytes": f.size} for name, f in self.files.items()},
            "tokenizer": self.tokenizer,
            "provenance": self.provenance,
            "certificate": self.certificate,
        }


def manifest_from_json(data: Any) -> Manifest:
    """The checked manifest from parsed JSON.

    Raises:
        BundleError: another schema version, a field missing or of the wrong type, an unsafe file name, a stage
            file without a hash.
    """
    if not isinstance(data, dict) or "schema_version" not in data:
        raise BundleError("manifest.json is not a bundle manifest (no schema_version)")
    if data["schema_version"] != SCHEMA_VERSION:
        raise BundleError(
            f"manifest.json has schema version {data['schema_version']!r}, this vpp-edge reads {SCHEMA_VERSION}. "
            "Export the bundle again with this version, or install the one that wrote it."
        )
    try:
        files = {_safe_name(name): _file_record(name, f) for name, f in data["files"].items()}
        stages = {s["name"]: _stage_record(s) for s in data["stages"]}
        manifest = Manifest(
            policy=policy_spec_from_json(data["policy"]),
            stages=stages,
            files=files,
            tokenizer=_safe_name(data["tokenizer"]),
            provenance=dict(data["provenance"]),
            certificate=dict(data["certificate"]),
        )
    except BadInputError as error:
        raise BundleError(f"manifest.json: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"manifest.json is incomplete or malformed: {type(error).__name__}: {error}") from error
    for name in {manifest.tokenizer, *(n for s in stages.values() for n in (s.graph, s.weights) if n)}:
        if name not in files:
            raise BundleError(f"manifest.json names {name!r} without its hash under `files`")
    return manifest


def _stage_json(record: StageRecord) -> dict[str, Any]:
    sparse = {"sparse_share": record.sparse_share} if record.sparse_share else {}
    return {
        "name": record.name,
        "graph": record.graph,
        "weights": record.weights,
        "precision": record.precision,
        "inputs": [_tensor_json(t) for t in record.inputs],
        "outputs": [_tensor_json(t) for t in record.outputs],
        **sparse,
    }


def _tensor_json(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def _tensor(data: dict[str, Any]) -> TensorSpec:
    return TensorSpec(str(data["name"]), data["dtype"], tuple(data["shape"]))


def _stage_record(data: dict[str, Any]) -> StageRecord:
    weights = data["weights"]
    return StageRecord(
        name=str(data["name"]),
        graph=_safe_name(data["graph"]),
        weights=None if weights is None else _safe_name(weights),
        precision=str(data["precision"]),
        inputs=tuple(_tensor(t) for t in data["inputs"]),
        outputs=tuple(_tensor(t) for t in data["outputs"]),
        sparse_share=float(data.get("sparse_share", 0)),
    )


def _file_record(name: str, data: dict[str, Any]) -> FileRecord:
    sha256, size = data["sha256"], data["bytes"]
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise BundleError(f"manifest.json: SHA-256 of {name!r} is {sha256!r}, expected 64 hexadecimal digits")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise BundleError(f"manifest.json: size of {name!r} is {size!r}, expected a number of bytes")
    return FileRecord(sha256, size)


def _safe_name(name: Any) -> str:
    """`name` if it can only mean a file inside the bundle: plain components, no `..`, not absolute."""
    if not isinstance(name, str) or not all(_NAME.fullmatch(part) for part in name.split("/")):
        raise BundleError(
            f"manifest.json names {name!r}, which is not a plain path inside the bundle; nothing was loaded"
        )
    return name


def is_bundle(path: Path) -> bool:
    """Whether a folder is a bundle rather than a checkpoint."""
    return (path / MANIFEST_NAME).is_file()


def is_checkpoint(path: Path) -> bool:
    """Whether a folder looks like a trained policy that was not exported yet."""
    parts = ("svd", "clip", "policy.pt", "policy.safetensors")
    return not is_bundle(path) and any((path / part).exists() for part in parts)


def export_command(checkpoint: Path) -> str:
    """What makes a bundle of a checkpoint, as it is typed."""
    return shlex.join(["vpp-edge", "export", str(checkpoint), "-o", f"{checkpoint.resolve().name}_bundle"])


_ZIPPED = (".pt", ".pth", ".ckpt", ".npz")  # files that users take for a bundle, zip archives themselves


class Bundle:
    """A bundle folder whose manifest was read and checked. Files are verified when they are opened.

    Attributes:
        path: the folder.
        manifest: the checked manifest.
        manifest_sha256: hash of the manifest file itself, which identifies the bundle.
    """

    def __init__(self, path: Path) -> None:
        """Raises BundleError when the folder or its manifest is missing, malformed or unsafe."""
        self.path = path
        if path.is_file():
            found = foreign_content(path, zipped=path.suffix in _ZIPPED) or "a file, but a bundle is a folder"
            raise BundleError(f"{path}: {found}. `vpp-edge export` makes a bundle of a checkpoint.")
        if not path.is_dir():
            raise BundleError(f"{path}: no such bundle folder. `vpp-edge export CHECKPOINT -o {path}` makes one.")
        if is_checkpoint(path):
            raise BundleError(f"{path}: a trained checkpoint, not a bundle. Make one of it: {export_command(path)}")
        raw = _read_file(path, MANIFEST_NAME, _MANIFEST_MAX_BYTES)
        self.manifest_sha256 = hashlib.sha256(raw).hexdigest()
        try:
            data = json.loads(raw)
        except (ValueError, RecursionError) as error:
            found = foreign_content(path / MANIFEST_NAME) or f"not readable as JSON ({error}). Copy the bundle again."
            raise BundleError(f"{path / MANIFEST_NAME}: {found}") from error
        try:
            self.manifest = manifest_from_json(data)
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from error

    def open_verified(self, name: str) -> bytes | mmap.mmap:
        """The content of a file as a read-only buffer, after checking its size and SHA-256 against the manifest.

        Raises:
            BundleError: the file is missing, a link, has another size or another hash.
        """
        record = self.manifest.files.get(name)
        if record is None:
            raise BundleError(f"{self.path}: the manifest does not list {name!r}")
        descriptor = open_inside(self.path, name, hub_links=True)
        try:
            size = os.fstat(descriptor).st_size
            if size != record.size:
                found = foreign_content(self.path / name, zipped=True) or "refused. Copy the bundle again."
                raise BundleError(f"{self.path / name}: {size} bytes, the manifest states {record.size}; {found}")
            content: bytes | mmap.mmap = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) if size else b""
        except ValueError as error:
            raise BundleError(f"{self.path / name}: changed while it was read; refused. Copy it again.") from error
        finally:
            os.close(descriptor)
        if hashlib.sha256(content).hexdigest() != record.sha256:
            raise BundleError(
                f"{self.path / name}: changed since export (its SHA-256 is not the manifest's); refused. Copy it again."
            )
        return content

    def verify_all(self) -> None:
        """Checks every file that the manifest lists; raises BundleError for the first that does not match."""
        for name in self.manifest.files:
            self.open_verified(name)

    def refuse_links(self) -> None:
        """Raises BundleError where a file is a link: libraries that are given its path do not follow it."""
        for name in self.manifest.files:
            os.close(open_inside(self.path, name))

    def stage(self, name: str) -> StageRecord:
        """The record of a stage; BundleError when the bundle has none of that name."""
        if name not in self.manifest.stages:
            raise BundleError(
                f"{self.path}: has no stage {name!r}{did_you_mean(name, self.manifest.stages)}, only "
                f"{sorted(self.manifest.stages)}"
            )
        return self.manifest.stages[name]


def _read_file(folder: Path, name: str, most_bytes: int) -> bytes:
    descriptor = open_inside(folder, name, hub_links=True)
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise BundleError(f"{folder / name}: larger than {most_bytes} bytes; refused")
    return content


def open_inside(folder: Path, name: str, hub_links: bool = False) -> int:
    """A read-only descriptor of a regular file with exactly one link below `folder`; no symbolic link is followed.

    Args:
        hub_links: follow a file's own link into `blobs/`, as a model hub's cache has it.

    Raises:
        BundleError: the file is missing, a link or reached through one, or not a regular file.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    *folders, file = name.split("/")
    current = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        for part in folders:
            following = os.open(part, flags | os.O_DIRECTORY, dir_fd=current)
            os.close(current)
            current = following
        target = _hub_blob(file, current) if hub_links else None
        descriptor = os.open(target or file, flags | os.O_NONBLOCK, dir_fd=current)  # else a named pipe would block
    except FileNotFoundError as error:
        raise BundleError(f"{folder / name}: missing. Copy the bundle again.") from error
    except OSError as error:
        raise BundleError(
            f"{folder / name}: a link or not a plain file ({error.strerror}); refused{_copying(folder, name)}"
        ) from error
    finally:
        os.close(current)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise BundleError(f"{folder / name}: not a regular file with exactly one link; refused{_copying(folder, name)}")
    return descriptor


def _hub_blob(name: str, folder: int) -> str | None:
    """Where the link of a hub's cache leads; None for anything else, which is then opened, or refused, as it is."""
    try:
        target = os.readlink(name, dir_fd=folder)
    except OSError:
        return None
    return target if _HUB_BLOB.fullmatch(target) else None


def _copying(folder: Path, name: str) -> str:
    """How to make a plain bundle of one that consists of links; nothing for what does not lead to files."""
    if not (folder / name).is_file():
        return ""
    words = shlex.join(["cp", "-rL", str(folder), f"{folder.name}-copy"])
    return f". Copy the bundle with the files that its links lead to, and use the copy: {words}"


def file_record(path: Path) -> FileRecord:
    """Size and SHA-256 of a file that was just written."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        return FileRecord(digest.hexdigest(), os.fstat(file.fileno()).st_size)
