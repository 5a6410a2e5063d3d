"""Checkpoints and bundles that many tests share: in, a name; out, its folder, made once, kept under build/test-cache.

An export takes a minute or two, so what was made is kept from session to session, under a key of everything that
decides its content: the sources, the golden configuration, the versions of the libraries.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "test-cache"
GOLDEN = ROOT.parent / "shared" / "golden"
UNTRAINED = ROOT / "vpp_edge" / "checkpoint" / "untrained.py"
GOLDEN_NAMES = ("xhand-tiny", "calvin-tiny")
LIBRARIES = ("torch", "diffusers", "transformers", "onnx", "onnxscript", "onnxruntime", "tokenizers", "omegaconf")
_KEPT_S = 3600  # another session may still be at work with what it made


@dataclass(frozen=True)
class Golden:
    """A golden policy: its checkpoint, and what the reference implementation computed with it."""

    name: str
    checkpoint: Path
    spec: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def file(self) -> Path:
        return GOLDEN / self.name / "io.npz"

    @property
    def cases(self) -> list[str]:
        return [str(i) for i in range(len(self.spec["cases"]))]

    def instruction(self, case: str) -> str:
        return str(self.spec["cases"][int(case)][2])

    def array(self, case: str, name: str) -> np.ndarray | None:
        return self.arrays.get(f"{case}/{name}")


def key_of(paths: Iterable[Path]) -> str:
    """Hash of the content of files and of all Python files below folders, and of the library versions."""
    digest = hashlib.sha256(" ".join(f"{name} {version(name)}" for name in LIBRARIES).encode())
    for path in paths:
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def sources_of_a_bundle() -> list[Path]:
    """What decides the content of a bundle, beside the checkpoint."""
    floor_0 = [ROOT / "vpp_edge" / name for name in ("spec/policy.py", "bundle/manifest.py", "bundle/tolerances.py")]
    checkpoint = sorted(set((ROOT / "vpp_edge" / "checkpoint").glob("*.py")) - {UNTRAINED})
    return [ROOT / "export", ROOT / "vpp_edge" / "model", *checkpoint, *floor_0]


def sources_of_low_precision() -> list[Path]:
    """What decides the content of an FP16 or INT8 bundle, beside the float32 bundle."""
    floor_0 = [ROOT / "vpp_edge" / "bundle" / name for name in ("certificate.py", "quantization.py", "tolerances.py")]
    return [ROOT / "calibration", ROOT / "export", ROOT / "vpp_edge" / "workflow", *floor_0]


def made_once(name: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` fills, from the cache if it is there; other processes wait for the one that makes it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / f"{name}-{key}"
    with _locked(CACHE / f"{name}.lock"):
        if not folder.is_dir():
            _forget_old(name)
            unfinished = folder.with_name(folder.name + ".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            make(unfinished)
            unfinished.rename(folder)
        os.utime(folder)
    return folder


def golden_checkpoint(name: str) -> Path:
    """The golden checkpoint `name`, in the trained format."""
    script, golden = GOLDEN / "materialize.py", GOLDEN / name
    key = key_of([script, golden / "spec.json"])
    return made_once(name, key, lambda folder: _run(sys.executable, str(script), str(golden), str(folder)))


def golden_bundle(name: str) -> Path:
    """The bundle of a golden checkpoint, exported by the command."""
    checkpoint = golden_checkpoint(name)
    key = key_of([*sources_of_a_bundle(), GOLDEN / name / "spec.json"])
    return made_once(f"{name}-bundle", key, lambda folder: export_by_command(checkpoint, folder))


def export_by_command(checkpoint: Path, bundle: Path, *options: str) -> None:
    _run(str(Path(sys.executable).with_name("vpp-edge")), "export", str(checkpoint), "-o", str(bundle), *options)


def _run(*command: str) -> None:
    # One thread each, because tracing has no use for more, and the golden policies are exported side by side.
    single = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=CACHE, env=single, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")


def _forget_old(name: str) -> None:
    for folder in CACHE.glob(f"{name}-*"):
        # `xhand-tiny` must not forget `xhand-tiny-bundle`
        if "-" not in folder.name[len(name) + 1 :] and time.time() - folder.stat().st_mtime > _KEPT_S:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
