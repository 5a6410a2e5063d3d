"""Find the three parts of a trained policy: in, a folder; out, the paths of video model, text encoder and policy.

The parts have usual names (`svd/`, `clip/`, `policy.pt`). Those of a release or of a training run have others
(`svd-robot-calvin-ft/`, `clip-vit-base-patch32/`, `dp-calvin/saved_models/<name>.pt`), so what is in a folder decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vpp_edge.checkpoint.foreign_models import foreign_folder, json_object
from vpp_edge.errors import CheckpointError
from vpp_edge.files.paths import data_files, is_left_behind

POLICY_FILES = ("policy.pt", "policy.safetensors")
_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
_SAVED_MODELS = "saved_models"  # where a training run of VPP keeps its policies
# Files of policies that training saved in shards, and how they become one.
_SHARDED = {
    "*.distcp": "`python -m torch.distributed.checkpoint.format_utils dcp_to_torch <folder> policy.pt`",
    "zero_to_fp32.py": "`python zero_to_fp32.py . policy.pt`",
    "*/mp_rank_*": "`python zero_to_fp32.py . policy.pt`",
}
_OPTIONS = {"video model": "--video-model", "text encoder": "--text-encoder", "policy": "--policy"}


@dataclass(frozen=True)
class CheckpointPaths:
    """Where the three parts of a trained policy are.

    Attributes:
        video_model: a diffusers StableVideoDiffusionPipeline folder (`svd/`).
        text_encoder: a transformers CLIP text folder with its tokenizer (`clip/`).
        policy: `policy.pt`, or `policy.safetensors`.
        notes: which file was chosen where there were several.
    """

    video_model: Path
    text_encoder: Path
    policy: Path
    notes: tuple[str, ...] = field(default=(), compare=False)

    def parts(self) -> dict[str, Path]:
        """The three paths by name."""
        return {"video_model": self.video_model, "text_encoder": self.text_encoder, "policy": self.policy}

    def absolute(self) -> CheckpointPaths:
        """The same paths, whatever a worker's working directory is."""
        video, text, policy = (path.absolute() for path in self.parts().values())
        return replace(self, video_model=video, text_encoder=text, policy=policy)


def paths_from_folder(folder: Path) -> CheckpointPaths:
    """The three parts in a folder: under their usual names, otherwise recognized by their content.

    Raises:
        CheckpointError: names every part that is missing, or that there are several of.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder. Pass a folder with svd/, clip/ and policy.pt.")
    video = _part(folder, "video model", "svd", _is_video_model)
    text = _part(folder, "text encoder", "clip", _is_text_encoder)
    policy = folder if _policy_files(folder) else _one(folder, "policy", list(_training_runs(folder)))
    parts = {"svd": video, "clip": text, POLICY_FILES[0]: policy}
    missing = [name for name, path in parts.items() if path is None]
    if video is None or text is None or policy is None:
        alone = "the video model" if _is_video_model(folder) else "the text encoder" if _is_text_encoder(folder) else ""
        hint = foreign_folder(folder) or (f"This is {alone} alone. " if alone else "") + (
            "A checkpoint folder holds svd/ (video model), clip/ (text encoder) and policy.pt; if they are in "
            "different places, pass all of --video-model, --text-encoder and --policy."
        )
        raise CheckpointError(f"{folder}: missing {', '.join(missing)}. {hint}")
    return paths_from_parts(video, text, policy)


def paths_from_parts(video_model: Path, text_encoder: Path, policy: Path) -> CheckpointPaths:
    """The three parts; `policy` may be the folder of a training run, whose only or newest policy is taken.

    Raises:
        CheckpointError: the folder holds no policy, or several of the same age.
    """
    if not policy.is_dir():
        return CheckpointPaths(video_model, text_encoder, policy)
    files = _policy_files(policy)
    if not files:
        for sign, remedy in _SHARDED.items():
            if any(policy.glob(sign)):
                raise CheckpointError(f"{policy}: holds a policy in shards. Join them where it was trained: {remedy}.")
        raise CheckpointError(
            f"{policy}: holds no policy. Pass the file, or the folder of a training run with {_SAVED_MODELS}/<name>.pt."
        )
    files.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    newest, *others = files
    if others and others[0].stat().st_mtime_ns == newest.stat().st_mtime_ns:
        names = ", ".join(str(p) for p in sorted(files))
        raise CheckpointError(f"{policy}: holds several policies ({names}). Pass one of them with --policy.")
    if newest.name in POLICY_FILES:
        return CheckpointPaths(video_model, text_encoder, newest)
    note = f"the policy is read from {newest}"
    if others:
        names = ", ".join(sorted(p.name for p in others))
        note += f", the newest of {len(files)}; choose another ({names}) with --policy"
    return CheckpointPaths(video_model, text_encoder, newest, notes=(note,))


def _part(folder: Path, meaning: str, usual: str, is_part: Callable[[Path], bool]) -> Path | None:
    if (folder / usual).exists():
        return folder / usual
    return _one(folder, meaning, [child for child in _folders(folder) if is_part(child)])


def _one(folder: Path, meaning: str, found: Sequence[Path]) -> Path | None:
    if len(found) > 1:
        names = ", ".join(str(p.relative_to(folder)) for p in found)
        raise CheckpointError(f"{folder}: holds more than one {meaning} ({names}). Choose with {_OPTIONS[meaning]}.")
    return found[0] if found else None


def _folders(folder: Path) -> Iterator[Path]:
    """The folders in a folder; of the cache of a model hub, the snapshots."""
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not is_left_behind(Path(child.name)):
            yield child
            yield from sorted(p for p in child.glob("snapshots/*") if p.is_dir())


def _is_video_model(folder: Path) -> bool:
    return json_object(folder / "model_index.json").get("_class_name") == "StableVideoDiffusionPipeline"


def _is_text_encoder(folder: Path) -> bool:
    config = json_object(folder / "config.json")
    return config.get("model_type") in ("clip", "clip_text_model") and (folder / "tokenizer_config.json").exists()


def _training_runs(folder: Path) -> Iterator[Path]:
    """The folders of training runs in a folder."""
    for child in _folders(folder):
        if not (child / "config.json").exists() and not _is_video_model(child) and _policy_files(child):
            yield child


def _policy_files(folder: Path) -> list[Path]:
    """The policies in a checkpoint folder or in the folder of a training run."""
    usual = [folder / name for name in POLICY_FILES if (folder / name).is_file()]
    saved = folder / _SAVED_MODELS
    return usual[:1] or _direct_files(folder) or (_direct_files(saved) if saved.is_dir() else [])


def _direct_files(folder: Path) -> list[Path]:
    return [
        path
        for path in data_files(folder, "*")
        if path.suffix in _SUFFIXES and "lora" not in path.name and "adapter" not in path.name
    ]
