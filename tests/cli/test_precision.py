"""FP16 and INT8 as they are typed: export, calibrate, inspect and verify on the small policy and short recordings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from edited import edit_json
from onnx import numpy_helper
from onnx_graphs import kinds

from vpp_edge import EdgePolicy
from vpp_edge.bundle.manifest import CALIBRATION_NAME, PARITY_NAME, Bundle, file_record
from vpp_edge.calibration.measure import nodes_by_layer as by_layer
from vpp_edge.cli.main import main
from vpp_edge.executor.interface import Executor
from vpp_edge.progress import ProgressCallback
from vpp_edge.workflow import calibrating, sensitivities
from vpp_edge.workflow.lowering import layer_macs
from vpp_edge.workflow.sensitivities import SwitchedStage

STAGES = ("text", "perceive", "act")


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


class TestBundles:
    @pytest.mark.parametrize("name", [pytest.param("int8_bundle", marks=pytest.mark.slow), "fp16_bundle"])
    def test_it_loads_and_runs_with_the_signature_of_the_float32_bundle(
        self, request: pytest.FixtureRequest, small_bundle: Path, name: str
    ) -> None:
        path = request.getfixturevalue(name)
        before, after = Bundle(small_bundle).manifest, Bundle(path).manifest
        for stage in STAGES:
            assert after.stages[stage].inputs == before.stages[stage].inputs
            assert after.stages[stage].outputs == before.stages[stage].outputs
        policy = EdgePolicy.load(path, seed=0)
        policy.instruct("stack the blocks")
        out = policy.infer(np.zeros(policy.spec.frames_shape, np.uint8), np.zeros(19, np.float32))
        assert out.actions.dtype == np.float32 and np.isfinite(out.actions).all()

    @pytest.mark.parametrize("name", [pytest.param("int8_bundle", marks=pytest.mark.slow), "fp16_bundle"])
    @pytest.mark.parametrize("stage", STAGES)
    def test_every_graph_is_strongly_typed(self, request: pytest.FixtureRequest, name: str, stage: str) -> None:
        path = request.getfixturevalue(name) / "onnx" / f"{stage}.onnx"
        onnx.checker.check_model(str(path), full_check=True)
        model = onnx.load(path)
        stated = kinds(model)
        del model.graph.value_info[:]
        inferred = kinds(onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True))
        assert stated == inferred
        low = sum(kind in ("FLOAT16", "INT8") for kind in stated.values())
        assert low > 0.75 * sum(kind in ("FLOAT16", "INT8", "FLOAT") for kind in stated.values())

    def test_the_int8_manifest_states_what_was_done(self, int8_bundle: Path) -> None:
        bundle = Bundle(int8_bundle)
        assert {n: s.precision for n, s in bundle.manifest.stages.items()} == {
            "text": "fp16",
            "perceive": "int8",
            "act": "int8",
        }
        int8 = bundle.manifest.certificate["int8"]
        assert 0.9 < int8["share"] < 1 and int8["budget"] == 0.2
        assert (int8["high"], int8["expected_error"]) == ({}, None)  # nothing was measured that could say
        assert {CALIBRATION_NAME, PARITY_NAME} <= bundle.manifest.files.keys()
        bundle.verify_all()
        found = {p.relative_to(int8_bundle).as_posix() for p in int8_bundle.rglob("*") if p.is_file()}
        assert found == {*bundle.manifest.files, "manifest.json"}
        assert bundle.manifest.provenance["from_bundle"]["precision"] == "int8"

    def test_it_is_judged_on_what_nobody_calibrated_on(self, int8_bundle: Path) -> None:
        assert json.loads((int8_bundle / CALIBRATION_NAME).read_text())["data"]["recordings"] == ["0", "1"]
        assert Bundle(int8_bundle).manifest.certificate["data"] == "1 observation of recording 2"

    def test_it_is_smaller(self, small_bundle: Path, fp16_bundle: Path, int8_bundle: Path) -> None:
        sizes = [(b / "onnx" / "perceive.onnx.data").stat().st_size for b in (small_bundle, fp16_bundle, int8_bundle)]
        assert sizes[1] < 0.55 * sizes[0] and sizes[2] < 0.35 * sizes[0]

    def test_inspect_shows_errors_of_every_joint_and_the_share(
        self, capsys: pytest.CaptureFixture[str], int8_bundle: Path
    ) -> None:
        status, out, _ = run(capsys, "inspect", int8_bundle)
        assert status == 0
        assert "INT8: 98.0 % of all multiply-accumulates, budget 20 %; kept in FP16: 0 layers" in out
        assert re.search(r"joint_position +RMS \S+ rad, largest \S+ rad", out)
        assert re.search(r"delta_position +RMS \S+ mm", out) and re.search(r"relative_rotation +RMS \S+ deg", out)


class TestVerify:
    def test_a_bundle_is_its_own_reference(
        self, capsys: pytest.CaptureFixture[str], int8_bundle: Path, fp16_bundle: Path
    ) -> None:
        status, out, _ = run(capsys, "verify", int8_bundle, "--json")
        answer = json.loads(out)
        assert (status, answer["passed"], answer["certificate_problems"]) == (0, True, [])
        limits = {c["tensor"]: c["limit"] for c in answer["checks"]}
        assert limits["tokens"] == {"measure": "cosine", "value": 0.995}
        assert limits["actions"] == {"measure": "rms_relative", "value": 0.2}
        status, out, _ = run(capsys, "verify", fp16_bundle)
        assert (status, out.count(" ok\n"), out.count("max error <= 0.005")) == (0, 8, 8)

    def test_a_forged_engine_is_found(self, capsys: pytest.CaptureFixture[str], int8_copy: Path) -> None:
        """Scales of `act` altered, and the manifest with them: hashes are fine, the actions are not."""
        path = int8_copy / "onnx" / "act.onnx"
        model = onnx.load(path, load_external_data=False)
        for tensor in model.graph.initializer:
            if tensor.name.endswith("/scale") and not tensor.dims:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float16(30), tensor.name))
        onnx.save(model, path)
        record = file_record(path)
        edit_json(
            int8_copy / "manifest.json",
            lambda data: data["files"].update({"onnx/act.onnx": {"sha256": record.sha256, "bytes": record.size}}),
        )
        assert run(capsys, "verify", int8_copy, "--hashes-only")[0] == 0
        status, out, _ = run(capsys, "verify", int8_copy)
        assert status == 1
        assert re.search(r"actions .*FAILED\n", out) and "does not act like its reference; do not run it" in out
        assert out.count("FAILED\n") == 1

    @pytest.mark.parametrize("content", [{}, {"samples": 3}, {"limits": {}}])
    def test_a_missing_or_garbled_certificate(
        self, capsys: pytest.CaptureFixture[str], int8_copy: Path, content: dict[str, Any]
    ) -> None:
        edit_json(int8_copy / "manifest.json", lambda data: data.update(certificate=content))
        status, out, _ = run(capsys, "inspect", int8_copy)
        assert status == 0 and "parity certificate" in out
        for words in ((), ("--hashes-only",)):
            status, _, err = run(capsys, "verify", int8_copy, *words)
            assert status != 0 and "parity certificate" in err

    def test_a_certificate_over_its_limit(self, capsys: pytest.CaptureFixture[str], int8_copy: Path) -> None:
        edit_json(
            int8_copy / "manifest.json", lambda data: data["certificate"]["limits"]["actions"].update(value=0.001)
        )
        assert "OVER ITS LIMIT: actions" in run(capsys, "inspect", int8_copy)[1]
        status, out, _ = run(capsys, "verify", int8_copy, "--hashes-only")
        assert status == 1 and "certificate over its limit: actions" in out

    def test_damaged_observations(self, capsys: pytest.CaptureFixture[str], int8_copy: Path) -> None:
        (int8_copy / PARITY_NAME).write_bytes(b"no zip")
        record = file_record(int8_copy / PARITY_NAME)
        edit_json(
            int8_copy / "manifest.json",
            lambda data: data["files"].update({PARITY_NAME: {"sha256": record.sha256, "bytes": record.size}}),
        )
        status, _, err = run(capsys, "verify", int8_copy)
        assert status == 2 and PARITY_NAME in err and "bug" not in err


def measured_table(int8_bundle: Path, small_bundle: Path, folder: Path, error: Callable[[str], float]) -> Path:
    """The calibration of the INT8 bundle as `vpp-edge calibrate` writes it, with errors of layers put in."""
    data = json.loads((int8_bundle / CALIBRATION_NAME).read_text())
    for stage, layer in layer_macs(Bundle(small_bundle))[0]:
        data["stages"][stage]["sensitivity"][layer] = error(layer)
    path = folder / "table.json"
    path.write_text(json.dumps(data))
    return path


class TestBudget:
    WORDS = ("--held-out-samples", 1, "--quiet", "--precision", "int8", "--calibration")

    def test_the_costliest_layers_leave_int8(
        self,
        capsys: pytest.CaptureFixture[str],
        small_bundle: Path,
        int8_bundle: Path,
        robot_recordings: Path,
        tmp_path: Path,
    ) -> None:
        costly = next(layer for _, layer in layer_macs(Bundle(small_bundle))[0])
        table = measured_table(int8_bundle, small_bundle, tmp_path, lambda layer: 0.5 if layer == costly else 1e-6)
        words = (*self.WORDS, table, "--held-out", robot_recordings, "--recordings", "0,1", "--budget", 0.2, "--json")
        status, out, _ = run(capsys, "export", small_bundle, "-o", tmp_path / "b", *words)
        answer = json.loads(out)
        assert (status, answer["passed"]) == (0, True)
        assert [name.partition(": ")[2] for name in answer["certificate"]["int8"]["high"]] == [costly]
        assert answer["certificate"]["int8"]["share"] < Bundle(int8_bundle).manifest.certificate["int8"]["share"]
        assert answer["certificate"]["data"] == "1 observation of recording 2"

    def test_a_budget_that_cannot_be_kept_is_status_1_and_says_so(
        self,
        capsys: pytest.CaptureFixture[str],
        small_bundle: Path,
        int8_bundle: Path,
        robot_recordings: Path,
        tmp_path: Path,
    ) -> None:
        """Every layer leaves INT8, and FP16 alone costs more than this budget."""
        table = measured_table(int8_bundle, small_bundle, tmp_path, lambda layer: 0.1)
        words = (*self.WORDS, table, "--held-out", robot_recordings, "--recordings", "0,1", "--budget", 1e-5)
        status, out, _ = run(capsys, "export", small_bundle, "-o", tmp_path / "b", *words)
        assert status == 1
        assert "FAILED: actions end to end: rms_relative" in out
        assert "The bundle was written, but `vpp-edge run` refuses it" in out
        int8 = Bundle(tmp_path / "b").manifest.certificate["int8"]
        assert int8["share"] == 0 and len(int8["high"]) == len(layer_macs(Bundle(small_bundle))[0])


@pytest.fixture
def few_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of every layer takes most of a minute: that of a few is measured, the others have their share of it."""
    measured = sensitivities.layer_errors

    def some(stage: SwitchedStage, executor: Executor | None, report: ProgressCallback) -> dict[str, float]:
        found = measured(stage, executor, report)
        assert len(found) == 3 and all(0 < e < 1 for e in found.values())
        return {p.layer: p.macs**0.5 * 1e-7 for p in stage.products} | found

    monkeypatch.setattr(sensitivities, "nodes_by_layer", lambda products: dict(islice(by_layer(products).items(), 3)))
    monkeypatch.setattr(calibrating, "layer_errors", some)


class TestCalibrate:
    @pytest.mark.slow
    def test_a_report(
        self,
        capsys: pytest.CaptureFixture[str],
        small_bundle: Path,
        robot_recordings: Path,
        tmp_path: Path,
        few_measured: None,
    ) -> None:
        table, folder = tmp_path / "deep" / "table.json", tmp_path / "report"
        words = ("--samples", 1, "--held-out-samples", 1, "--recordings", "2,0", "--quiet", "--json", "--processes")
        status, out, _ = run(
            capsys, "calibrate", small_bundle, robot_recordings, "-o", table, "--report", folder, *words, 2
        )
        answer = json.loads(out)
        assert status == 0
        assert sorted(answer["data"]["recordings"]) == ["0", "2"]
        choices = answer["choices"]
        assert answer["layers"] == choices[-1]["high"] > 200
        for before, after in pairwise(choices):
            assert before["share"] > after["share"] and before["high"] < after["high"]
            assert before["expected_error"] >= after["expected_error"]
            assert before["predicted_ms"] <= after["predicted_ms"]
        first, last = choices[0], choices[-1]
        assert first["predicted_ms"] < last["predicted_ms"]
        assert first["share"] > 0.9 and first["high"] == 0 and first["error"] > 0.01 and first["cosine"] < 1
        assert (last["share"], last["expected_error"]) == (0, 0) and last["error"] < 1e-5
        text = Path(answer["report"]).read_text()
        assert "1 observation of recording 1" in text and text.count("<tr>") == len(choices) + 1
        assert text.count("<circle") == len(choices)
        assert [p.name for p in folder.iterdir()] == ["report.html"]
        assert run(capsys, "calibrate", small_bundle, robot_recordings, "-o", table)[0] == 2  # it exists
        assert run(capsys, "calibrate", small_bundle, robot_recordings, "-o", folder / "one", *words, 1)[0] == 0
        assert (folder / "one").read_text() == table.read_text()  # with one process as with two


class TestWrongUse:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--precision", "int8"], "pass --calibration DATASET"),
            (
                ["--precision", "int8", "--calibration", "DATA", "--budget", "0"],
                "--budget 0: expected a number above 0",
            ),
            (
                ["--precision", "int8", "--calibration", "DATA", "--budget", "2"],
                "--budget 2: expected a number above 0",
            ),
            (
                ["--precision", "int8", "--calibration", "DATA", "--budget", "nan"],
                "--budget nan: expected a number above 0",
            ),
            (
                ["--precision", "int8", "--calibration", "DATA", "--alpha", "1.5"],
                "--alpha 1.5: expected a number from 0 to 1",
            ),
            (
                ["--precision", "int8", "--calibration", "DATA", "--method", "percentile", "--percentile", "0"],
                "percentile 0",
            ),
            (["--precision", "int8", "--calibration", "DATA", "--recordings", "7"], "has no recording '7'; it has 0"),
            (
                ["--precision", "int8", "--calibration", "DATA", "--samples", "0"],
                "--samples 0: expected a whole number from 1",
            ),
            (["--precision", "int8", "--calibration", "nowhere"], "no such data set"),
            (["--precision", "int8", "--calibration", "TABLE"], "pass --held-out DATASET"),
            (["--precision", "fp16", "--calibration", "TABLE", "--held-out", "DATA"], "takes none"),
            (["--precision", "fp32"], "is a bundle already"),
            (["--precision", "int4"], "invalid choice"),
        ],
    )
    def test_is_status_2(
        self,
        capsys: pytest.CaptureFixture[str],
        small_bundle: Path,
        int8_bundle: Path,
        robot_recordings: Path,
        tmp_path: Path,
        words: list[str],
        said: str,
    ) -> None:
        places = {"DATA": robot_recordings, "TABLE": int8_bundle / CALIBRATION_NAME}
        typed = [places.get(word, word) for word in words]
        status, out, err = run(capsys, "export", small_bundle, "-o", tmp_path / "b", "--quiet", *typed)
        assert (status, out) == (2, "")
        assert said in err
        assert not list(tmp_path.iterdir())

    def test_calibration_of_a_float32_export(
        self, capsys: pytest.CaptureFixture[str], small_checkpoint: Path, robot_recordings: Path, tmp_path: Path
    ) -> None:
        status, _, err = run(
            capsys, "export", small_checkpoint, "-o", tmp_path / "b", "--calibration", robot_recordings
        )
        assert status == 2 and "--calibration is for --precision int8" in err

    def test_a_table_of_another_bundle(
        self,
        capsys: pytest.CaptureFixture[str],
        small_bundle: Path,
        int8_bundle: Path,
        robot_recordings: Path,
        tmp_path: Path,
    ) -> None:
        table = measured_table(int8_bundle, small_bundle, tmp_path, lambda layer: 0.1)
        edit_json(table, lambda data: data["stages"]["act"].update(graph_sha256="0" * 64))
        words = ("--precision", "int8", "--calibration", table, "--held-out", robot_recordings, "--quiet")
        status, _, err = run(capsys, "export", small_bundle, "-o", tmp_path / "b", *words)
        assert status == 2 and "was not measured on stage act" in err

    @pytest.mark.parametrize("command", ["export", "calibrate"])
    def test_lower_precision_is_not_lowered_again(
        self,
        capsys: pytest.CaptureFixture[str],
        int8_bundle: Path,
        robot_recordings: Path,
        tmp_path: Path,
        command: str,
    ) -> None:
        words = {"export": ("--precision", "int8", "--calibration", robot_recordings), "calibrate": (robot_recordings,)}
        status, _, err = run(capsys, command, int8_bundle, *words[command], "-o", tmp_path / "b", "--quiet")
        assert status == 2 and "float32 bundle" in err
        assert not list(tmp_path.iterdir())
