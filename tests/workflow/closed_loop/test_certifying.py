"""Closed-loop success in the certificate: written with the bundle, readable, and never partial."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from edited import edit_json

from vpp_edge.bundle.certificate import certificate_from_json
from vpp_edge.bundle.manifest import MANIFEST_NAME, Bundle, Manifest
from vpp_edge.checkpoint.choices import Choices
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.errors import BadInputError
from vpp_edge.progress import ProgressCallback
from vpp_edge.workflow.closed_loop.certifying import check_can_play, export_and_play
from vpp_edge.workflow.closed_loop.evaluation import EvalSettings

SHORT = EvalSettings(episodes=2, seed=3, time_limit_s=0.2, world="either")


@pytest.mark.parametrize("eager", [False, True])
def test_both_play_and_the_certificate_says_so(
    small_bundle: Path, small_checkpoint: Path, tmp_path: Path, eager: bool
) -> None:
    def export(target: Path, report: ProgressCallback) -> Manifest:
        shutil.copytree(small_bundle, target)
        return Bundle(target).manifest

    seen = []
    source = paths_from_folder(small_checkpoint) if eager else Bundle(small_bundle)
    written = export_and_play(
        export,
        source=source,
        target=tmp_path / "bundle",
        settings=SHORT,
        overwrite=False,
        report=lambda stage, fraction: seen.append(stage),
    )
    bundle = Bundle(tmp_path / "bundle")
    bundle.verify_all()
    assert bundle.manifest.certificate == json.loads(json.dumps(written.certificate))
    record = certificate_from_json(bundle.manifest.certificate).closed_loop
    assert record is not None and record.seed == 3
    assert (record.task, record.world) == ('simulated "press either red button"', "either")
    assert (record.policy.successes, record.policy.episodes, record.reference.episodes) == (0, 2, 2)
    assert record.reference_name == ("the eager float32 policy" if eager else "the float32 bundle")
    assert list(dict.fromkeys(seen)) == ["play", "play float32"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_nothing_is_left_where_playing_fails(small_bundle: Path, tmp_path: Path) -> None:
    def export(target: Path, report: ProgressCallback) -> Manifest:
        shutil.copytree(small_bundle, target)
        (target / "onnx" / "act.onnx").write_bytes(b"no graph")
        return Bundle(target).manifest

    with pytest.raises(BadInputError, match=r"act\.onnx"):
        export_and_play(
            export, source=Bundle(small_bundle), target=tmp_path / "bundle", settings=SHORT, overwrite=False
        )
    assert not list(tmp_path.iterdir())


def test_a_policy_that_cannot_play_is_refused_before_the_export(bundle_copy: Path) -> None:
    edit_json(bundle_copy / MANIFEST_NAME, lambda data: data["policy"]["action"]["segments"][0].update(kind="raw"))
    with pytest.raises(BadInputError, match="cannot play in the simulation"):
        check_can_play(Bundle(bundle_copy), Choices())


def test_a_checkpoint_that_can_play_is_accepted(small_checkpoint: Path) -> None:
    check_can_play(paths_from_folder(small_checkpoint), Choices())
