"""Check the files of a checkpoint before they are read, with errors that say how to fix what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vpp_edge.errors import CheckpointError
from vpp_edge.json_file import read_json_file

POLICY_FILES = ("policy.pt", "policy.safetensors")
_LFS_HEADER = b"version https://git-lfs.github.com/spec/"
_PARTIAL_SUFFIXES = (".incomplete", ".part", ".partial", ".crdownload", ".aria2", ".tmp")


@dataclass(frozen=True)
class CheckpointPaths:
    """Where the three parts of a trained policy are.

    Attributes:
        video_model: a diffusers StableVideoDiffusionPipeline folder (`svd/`).
        text_encoder: a transformers CLIP text folder with its tokenizer (`clip/`).
        policy: `policy.pt`, or `policy.safetensors`.
    """

    video_model: Path
    text_encoder: Path
    policy: Path


def paths_from_folder(folder: Path) -> CheckpointPaths:
    """The three parts of a checkpoint folder under their usual names.

    Raises:
        CheckpointError: names every part that is missing.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder. Pass a folder with svd/, clip/ and policy.pt.")
    policy = next((folder / name for name in POLICY_FILES if (folder / name).exists()), folder / POLICY_FILES[0])
    missing = [path.name for path in (folder / "svd", folder / "clip", policy) if not path.exists()]
    if missing:
        raise CheckpointError(
            f"{folder}: missing {', '.join(missing)}. A checkpoint folder holds svd/ (video model), clip/ (text "
            "encoder) and policy.pt; if they are in different places, pass --video-model, --text-encoder and --policy."
        )
    return CheckpointPaths(video_model=folder / "svd", text_encoder=folder / "clip", policy=policy)


def check_file(path: Path, meaning: str) -> None:
    """Raises CheckpointError unless `path` is a non-empty regular file and not a Git LFS pointer."""
    if not path.exists():
        partial = [p.name for p in path.parent.glob(f"{path.name}*") if p.name.endswith(_PARTIAL_SUFFIXES)]
        hint = f" There is an unfinished download next to it ({', '.join(sorted(partial))})." if partial else ""
        raise CheckpointError(f"{path}: missing; it should hold {meaning}.{hint} Download or copy it again.")
    if not path.is_file():
        raise CheckpointError(f"{path}: not a file; it should hold {meaning}.")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: empty; it should hold {meaning}. Download or copy it again.")
    with path.open("rb") as file:
        if file.read(len(_LFS_HEADER)) == _LFS_HEADER:
            raise CheckpointError(
                f"{path}: a Git LFS pointer, not the data. Run `git lfs install && git lfs pull` in its repository."
            )


def read_json(path: Path, meaning: str) -> dict[str, Any]:
    """The object in a JSON file; CheckpointError when it is missing, damaged or not an object."""
    check_file(path, meaning)
    data = read_json_file(path, meaning, error=CheckpointError)
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: expected a JSON object with {meaning}, got {type(data).__name__}")
    return data


def refuse_partial_downloads(folder: Path) -> None:
    """Raises CheckpointError when a download into `folder` was not finished."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder. Check the path and download or copy it again.")
    partial = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.name.endswith(_PARTIAL_SUFFIXES))
    if partial:
        raise CheckpointError(f"{folder}: unfinished download ({', '.join(partial[:5])}). Finish or repeat it.")
