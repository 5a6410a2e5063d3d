"""Trial of bundles that were changed on disk: each is refused before an engine opens any of its files."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.errors import InconclusiveError, VppEdgeError
from vpp_edge.runtime.chaos.result import TrialResult, unless
from vpp_edge.runtime.chaos.trial import TrialSetup
from vpp_edge.runtime.session.run import run_session

MANIFEST = "manifest.json"


def _edit(folder: Path, change: Callable[[dict], None]) -> None:
    data = json.loads((folder / MANIFEST).read_text())
    change(data)
    (folder / MANIFEST).write_text(json.dumps(data))


def _smallest_graph(folder: Path) -> Path:
    names = [name for name in json.loads((folder / MANIFEST).read_text())["files"] if name.endswith(".onnx")]
    return folder / min(names, key=lambda name: (folder / name).stat().st_size)


def _changed_byte(folder: Path) -> None:
    path = _smallest_graph(folder)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncated(folder: Path) -> None:
    path = _smallest_graph(folder)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _missing(folder: Path) -> None:
    _smallest_graph(folder).unlink()


def _link(folder: Path) -> None:
    path = _smallest_graph(folder)
    target = folder.parent / f"{folder.name}-elsewhere"
    path.rename(target)
    path.symlink_to(target)


def _path_outside(folder: Path) -> None:
    def point_outside(data: dict) -> None:
        name, record = next(iter(data["files"].items()))
        data["files"][f"../{name}"] = record

    _edit(folder, point_outside)


def _forged_hash(folder: Path) -> None:
    name = str(_smallest_graph(folder).relative_to(folder))
    _edit(folder, lambda data: data["files"][name].update(sha256="0" * 64))


def _bomb(folder: Path) -> None:
    (folder / MANIFEST).write_text("[" * 100_000)


def _no_certificate(folder: Path) -> None:
    _edit(folder, lambda data: data.update(certificate={}))


TAMPERINGS = (_changed_byte, _truncated, _missing, _link, _path_outside, _forged_hash, _bomb, _no_certificate)


def tampered(setup: TrialSetup) -> TrialResult:
    """Loads a copy of the bundle after each change.

    The copy needs disk space next to the bundle, or for temporary files where that folder is read-only.

    Raises:
        InconclusiveError: a scripted policy has no bundle.
    """
    if setup.options.get("backend") == "scripted":
        raise InconclusiveError("a scripted policy has no bundle that could be changed; name the folder of one")
    source, accepted = Bundle(Path(setup.bundle)).path, []
    beside = source.resolve().parent
    with (
        tempfile.TemporaryDirectory(dir=beside if os.access(beside, os.W_OK) else None) as folder,
        closing(setup.open_hand()) as hand,
    ):
        copy = Path(folder) / "bundle"
        shutil.copytree(source, copy)
        for tamper in TAMPERINGS:
            tamper(copy)
            config = replace(setup.config(hand), bundle=str(copy), ignore_certificate=False, duration_s=0.5)
            try:
                run_session(config)
                accepted.append(tamper.__name__.strip("_").replace("_", " "))
            except VppEdgeError:
                pass
            for path in (source / MANIFEST, _smallest_graph(source)):
                restored = copy / path.relative_to(source)
                restored.unlink(missing_ok=True)
                shutil.copy2(path, restored)
    return TrialResult(
        observed=f"{len(TAMPERINGS) - len(accepted)} of {len(TAMPERINGS)} changed bundles refused",
        problems=unless(not accepted, f"accepted: {', '.join(accepted)}"),
    )
