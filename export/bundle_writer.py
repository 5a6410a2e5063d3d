"""Write bundle folders atomically.

Everything is written to a hidden folder next to the target and renamed as the last step, so an interruption, a full
disk or a failed check leaves no partial bundle.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from vpp_edge.bundle.certificate import Certificate
from vpp_edge.bundle.manifest import MANIFEST_NAME, PARITY_NAME, Manifest, file_record
from vpp_edge.bundle.reference import Reference, arrays_from_references
from vpp_edge.bundle.work import WORK_NAME, work_json
from vpp_edge.errors import BadInputError
from vpp_edge.export.counting import graph_from_file
from vpp_edge.files.outputs import check_output_folder
from vpp_edge.files.partial import partial_folder, remove_dead, replace_folder
from vpp_edge.files.writing import write_whole
from vpp_edge.machine_limits import FULL

# Observations kept in a bundle with the reference outputs: a few megabytes at most.
KEPT_OBSERVATIONS = 2


def check_target(target: Path, overwrite: bool) -> None:
    """Raises BadInputError when a bundle cannot be written to `target`."""
    check_output_folder(target, "bundle", whole=True)
    remove_dead(target)  # a killed export may have moved the old bundle away
    if target.exists() and not overwrite:
        raise BadInputError(f"{target} exists. Choose another folder, or pass --overwrite to replace that bundle.")
    if (
        target.exists()
        and any(target.iterdir() if target.is_dir() else [target])
        and not (target / MANIFEST_NAME).is_file()
    ):
        raise BadInputError(f"{target} is not a bundle; --overwrite replaces only bundles. Choose another folder.")


@contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """A hidden folder next to `target`, removed at the end unless renamed; a full disk becomes a BadInputError."""
    try:
        with partial_folder(target) as staging:
            yield staging
    except OSError as error:
        if error.errno in FULL:
            free = shutil.disk_usage(target.parent).free >> 20
            raise BadInputError(
                f"no space left for {target} ({free} MiB free after cleaning up is too little). Nothing was written."
            ) from error
        raise


def write_bundle(
    staging: Path, target: Path, manifest: Manifest, references: Sequence[Reference], overwrite: bool
) -> Manifest:
    """Completes a staging folder and renames it to `target`.

    Args:
        staging: of `staging_folder`, with the files of the bundle.
        manifest: without `files`, which are hashed here, and without the stages' shares of sparse weights.
        references: those of the certificate; a few are kept in the bundle.

    Returns:
        the manifest as written.
    """
    kept = arrays_from_references(references[:KEPT_OBSERVATIONS])
    np.savez_compressed(staging / PARITY_NAME, **kept)  # type: ignore[arg-type]
    graphs = {name: graph_from_file(staging / stage.graph) for name, stage in manifest.stages.items()}
    hashes = {name: file_record(staging / stage.graph).sha256 for name, stage in manifest.stages.items()}
    (staging / WORK_NAME).write_text(work_json(graphs, hashes), encoding="utf-8")
    files = {p.relative_to(staging).as_posix(): file_record(p) for p in sorted(staging.rglob("*")) if p.is_file()}
    stages = {n: replace(stage, sparse_share=graphs[n].sparse_share()) for n, stage in manifest.stages.items()}
    manifest = replace(manifest, files=files, stages=stages)
    _write_synced(staging / MANIFEST_NAME, json.dumps(manifest.to_json(), indent=1))
    rename_bundle(staging, target, overwrite)
    return manifest


def write_certificate(bundle: Path, manifest: Manifest, certificate: Certificate) -> Manifest:
    """Replaces the certificate of a finished bundle; all other files stay.

    Args:
        manifest: of the bundle.

    Returns:
        the manifest as written.
    """
    manifest = replace(manifest, certificate=certificate.to_json())
    write_whole(bundle / MANIFEST_NAME, json.dumps(manifest.to_json(), indent=1))
    return manifest


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def rename_bundle(staging: Path, target: Path, overwrite: bool) -> None:
    """Renames the finished folder into place; an old bundle is moved away first and deleted only afterwards.

    Raises:
        BadInputError: something has appeared there since the export began.
    """
    if target.exists() and not overwrite:
        raise BadInputError(f"{target} was made by another program during this export; export to another folder")
    staging.chmod(0o755)
    replace_folder(staging, target)
