"""export, verify, inspect and profile as the shell sees them: exit statuses, JSON on stdout, errors on stderr."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cpu_time import HANGS_S
from edited import edit_json
from material import Golden

from vpp_edge.cli.main import main
from vpp_edge.workflow.closed_loop import evaluation

pytestmark = pytest.mark.live


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def alter_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


class TestExport:
    @pytest.mark.usefixtures("traced_before")
    def test_the_answer_holds_the_certificate(
        self, capsys: pytest.CaptureFixture[str], small_checkpoint: Path, tmp_path: Path
    ) -> None:
        status, out, _ = run(capsys, "export", small_checkpoint, "-o", tmp_path / "a", "--json", "--quiet")
        assert status == 0
        assert set(json.loads(out)["certificate"]["end_to_end"]) == {"text_hidden", "goal", "tokens", "actions"}
        parts = ("--video-model", "svd", "--text-encoder", "clip", "--policy", "policy.pt")
        words = [word if word.startswith("--") else small_checkpoint / word for word in parts]
        status, out, _ = run(capsys, "export", *words, "-o", tmp_path / "b")
        assert status == 0
        assert "in fp32, compared with the eager float32 policy" in out and "2 random observations, seed 0" in out

    @pytest.mark.usefixtures("traced_before")
    def test_success_in_closed_loop_is_exported_and_inspected(
        self,
        capsys: pytest.CaptureFixture[str],
        small_checkpoint: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        defaults = {field.name: field.default for field in dataclasses.fields(evaluation.EvalSettings)}
        shorter = tuple({**defaults, "time_limit_s": 0.1}.values())
        monkeypatch.setattr(evaluation.EvalSettings.__init__, "__defaults__", shorter)
        words = (small_checkpoint, "-o", tmp_path / "bundle", "--closed-loop", 2, "--seed", 6)
        status, out, err = run(capsys, "export", *words)
        assert (status, "0.0 % (0.0 to 65.8 %) succeed" in out, "play float32" in err) == (0, True, True)
        status, out, _ = run(capsys, "inspect", tmp_path / "bundle", "--hash")
        assert status == 0 and 'closed loop: simulated "press the red button", 2 episodes, seed 6' in out
        assert run(capsys, "verify", tmp_path / "bundle", "--hashes-only")[0] == 0

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_it_without_a_trace(self, small_checkpoint: Path, tmp_path: Path, number: int) -> None:
        command = [str(Path(sys.executable).with_name("vpp-edge")), "export", str(small_checkpoint), "-o", "bundle"]
        export = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + HANGS_S
        while not os.listdir(tmp_path) and export.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        export.send_signal(number)
        _, err = export.communicate(timeout=HANGS_S)
        assert (export.returncode, os.listdir(tmp_path)) == (130, []), err
        assert "Traceback" not in err

    @pytest.mark.parametrize("as_json", [False, True])
    def test_a_hostile_policy_is_refused_and_not_run(self, small_copy: Path, tmp_path: Path, as_json: bool) -> None:
        """In a process of its own, as it would be."""

        class Bomb:
            def __reduce__(self) -> Any:
                return os.system, (f"touch {tmp_path / 'marker'}",)

        torch.save({"model": {}, "args": Bomb()}, small_copy / "policy.pt")
        command = [str(Path(sys.executable).with_name("vpp-edge")), "export", str(small_copy), "-o", "bundle"]
        done = subprocess.run(
            command + ["--json"] * as_json, cwd=tmp_path, capture_output=True, text=True, timeout=HANGS_S
        )
        assert done.returncode == 2
        assert "policy.pt: refused" in done.stderr
        assert "Traceback" not in done.stderr
        if as_json:
            assert json.loads(done.stdout)["exit_status"] == 2
        assert sorted(os.listdir(tmp_path)) == ["checkpoint"]

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["nowhere"], "no such folder"),
            ([], "pass either a checkpoint folder, or all of"),
            (["--policy", "p.pt"], "pass either a checkpoint folder, or all of"),
            (["nowhere", "--policy", "p.pt"], "pass either"),
            (["nowhere", "--parity-samples", "0"], "--parity-samples 0: expected a whole number from 1"),
            (["nowhere", "--steps", "0"], "--steps 0: expected a whole number from 1 to 1000"),
            (["nowhere", "--variant", "panda"], "invalid choice"),
            (["nowhere", "--solver", "heun"], "invalid choice"),
        ],
    )
    def test_wrong_usage_is_status_2(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], said: str
    ) -> None:
        status, out, err = run(capsys, "export", *words, "-o", tmp_path / "bundle")
        assert (status, out) == (2, "")
        assert said in err
        assert not (tmp_path / "bundle").exists()

    @pytest.mark.parametrize("frames", [3, 32])
    def test_frames_that_do_not_divide_those_of_the_policy_are_refused(
        self, capsys: pytest.CaptureFixture[str], small_checkpoint: Path, tmp_path: Path, frames: int
    ) -> None:
        status, out, err = run(capsys, "export", small_checkpoint, "--frames", frames, "-o", tmp_path / "b", "--quiet")
        assert (status, out) == (2, "")
        assert f"{frames} frames do not divide the policy's 16; expected one of 1, 2, 4, 8, 16" in err
        assert not (tmp_path / "b").exists()

    def test_a_truncated_policy_is_named(
        self, capsys: pytest.CaptureFixture[str], small_copy: Path, tmp_path: Path
    ) -> None:
        whole = (small_copy / "policy.pt").read_bytes()
        (small_copy / "policy.pt").write_bytes(whole[: len(whole) // 2])
        status, _, err = run(capsys, "export", small_copy, "-o", tmp_path / "bundle", "--quiet")
        assert status == 2
        assert "policy.pt: truncated" in err
        assert not (tmp_path / "bundle").exists()

    def test_an_existing_bundle_is_not_replaced(
        self, capsys: pytest.CaptureFixture[str], small_checkpoint: Path, bundle_copy: Path
    ) -> None:
        before = (bundle_copy / "manifest.json").read_bytes()
        status, _, err = run(capsys, "export", small_checkpoint, "-o", bundle_copy)
        assert status == 2
        assert "--overwrite" in err
        assert (bundle_copy / "manifest.json").read_bytes() == before


class TestVerify:
    def test_hashes_alone(self, capsys: pytest.CaptureFixture[str], small_bundle: Path) -> None:
        status, out, _ = run(capsys, "verify", small_bundle, "--hashes-only")
        assert status == 0
        assert "9 files are as the manifest states" in out

    def test_an_altered_byte_is_status_2(self, capsys: pytest.CaptureFixture[str], bundle_copy: Path) -> None:
        alter_a_byte(bundle_copy / "onnx" / "act.onnx")
        status, out, err = run(capsys, "verify", bundle_copy, "--hashes-only", "--json")
        assert status == 2
        assert "onnx/act.onnx: changed since export" in err
        assert json.loads(out)["exit_status"] == 2

    def test_a_name_that_leads_outside_is_status_2(self, capsys: pytest.CaptureFixture[str], bundle_copy: Path) -> None:
        edit_json(bundle_copy / "manifest.json", lambda data: data.update(tokenizer="../x"))
        for command in ("verify", "inspect", "profile"):
            status, _, err = run(capsys, command, bundle_copy)
            assert status == 2
            assert "'../x'" in err

    def test_against_the_checkpoint(
        self, capsys: pytest.CaptureFixture[str], small_bundle: Path, small_checkpoint: Path
    ) -> None:
        words = ("verify", small_bundle, "--checkpoint", small_checkpoint, "--samples", 1, "--json")
        status, out, _ = run(capsys, *words)
        answer = json.loads(out)
        assert (status, answer["passed"], answer["files_verified"]) == (0, True, 9)
        assert [c["tensor"] for c in answer["checks"]] == ["text_hidden", "goal", "tokens", "actions"]

    def test_against_golden_outputs(
        self, capsys: pytest.CaptureFixture[str], golden: Golden, golden_bundle: Path
    ) -> None:
        status, out, _ = run(capsys, "verify", golden_bundle, "--golden", golden.file)
        assert status == 0
        assert out.count(" ok\n") == 4 * len(golden.cases)

    def test_golden_outputs_that_were_tampered_with_are_status_1(
        self, capsys: pytest.CaptureFixture[str], golden: Golden, golden_bundle: Path, tmp_path: Path
    ) -> None:
        arrays = {name: array for name, array in golden.arrays.items() if name.startswith("0/")}
        arrays["0/actions"] = arrays["0/actions"] + np.float32(0.01)
        np.savez(tmp_path / "io.npz", **arrays)
        shutil.copy(golden.file.with_name("spec.json"), tmp_path)
        status, out, _ = run(capsys, "verify", golden_bundle, "--golden", tmp_path / "io.npz", "--json")
        assert status == 1
        assert [c["tensor"] for c in json.loads(out)["checks"] if not c["passed"]] == ["actions"]
        status, out, _ = run(capsys, "verify", golden_bundle, "--golden", tmp_path / "io.npz")
        assert status == 1
        assert "FAILED: this bundle does not act like its reference" in out

    def test_recorded_cases(
        self, capsys: pytest.CaptureFixture[str], small_bundle: Path, small_recording: Path, tmp_path: Path
    ) -> None:
        """The same on every machine: a small policy against what it gave itself, then against something else."""
        assert run(capsys, "verify", small_bundle, "--golden", small_recording)[0] == 0
        with np.load(small_recording) as file:
            arrays = {name: file[name] for name in file.files}
        arrays["0/tokens"] = -arrays["0/tokens"]
        np.savez(small_recording, **arrays)
        status, out, _ = run(capsys, "verify", small_bundle, "--golden", small_recording, "--json")
        assert status == 1
        assert [c["tensor"] for c in json.loads(out)["checks"] if not c["passed"]] == ["tokens"]

    @pytest.mark.parametrize("damage", ["no file", "no npz", "no spec", "no noise", "other shape", "no case"])
    def test_damaged_recordings_are_status_2(
        self, capsys: pytest.CaptureFixture[str], small_bundle: Path, small_recording: Path, damage: str
    ) -> None:
        with np.load(small_recording) as file:
            arrays = {name: file[name] for name in file.files}
        if damage == "no noise":
            del arrays["0/video_noise"]
        elif damage == "other shape":
            arrays["0/actions"] = arrays["0/actions"][:, :2]
        elif damage == "no case":
            arrays = {"x": np.zeros(1)}
        np.savez(small_recording, **arrays)
        if damage == "no file":
            small_recording.unlink()
        elif damage == "no npz":
            small_recording.write_bytes(b"not a zip")
        elif damage == "no spec":
            small_recording.with_name("spec.json").unlink()
        status, _, err = run(capsys, "verify", small_bundle, "--golden", small_recording)
        assert status == 2, err
        assert "bug" not in err


@pytest.fixture
def small_recording(small_bundle: Path, tmp_path: Path) -> Path:
    """One case in the layout of a golden file, made by the small policy itself."""
    from vpp_edge import EdgePolicy

    policy, random = EdgePolicy.load(small_bundle), np.random.default_rng(0)
    case: dict[str, np.ndarray] = {
        "frames": random.integers(0, 256, policy.spec.frames_shape, dtype=np.uint8),
        "proprio": random.uniform(-1, 1, 19).astype(np.float32),
        "video_noise": random.standard_normal(policy.spec.video_noise_shape, dtype=np.float32),
        "action_noise": random.standard_normal((1, *policy.spec.chunk_shape), dtype=np.float32),
    }
    policy.instruct("push the button")
    out = policy.infer(**case)
    case |= {"text_hidden": policy.text[0], "text_embed": policy.text[1], "tokens": out.tokens, "actions": out.actions}
    np.savez(tmp_path / "io.npz", **{f"0/{name}": array for name, array in case.items()})
    (tmp_path / "spec.json").write_text(json.dumps({"cases": [[0, 0, "push the button"]]}))
    return tmp_path / "io.npz"


class TestInspect:
    def test_shows_what_is_in_a_bundle(self, capsys: pytest.CaptureFixture[str], small_bundle: Path) -> None:
        status, out, _ = run(capsys, "inspect", small_bundle, "--hash")
        assert status == 0
        for word in ("xhand", "2 cameras (static, wrist)", "joint_position", "perceive", "onnx/act.onnx.data"):
            assert word in out

    def test_as_json(self, capsys: pytest.CaptureFixture[str], small_bundle: Path) -> None:
        status, out, _ = run(capsys, "inspect", small_bundle, "--json")
        assert status == 0
        assert json.loads(out)["policy"]["variant"] == "xhand"

    def test_no_bundle_is_status_2(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        status, out, err = run(capsys, "inspect", tmp_path / "nowhere")
        assert (status, out) == (2, "")
        assert "no such bundle folder" in err

    def test_damage_is_found_when_asked_for(self, capsys: pytest.CaptureFixture[str], bundle_copy: Path) -> None:
        alter_a_byte(bundle_copy / "tokenizer.json")
        assert run(capsys, "inspect", bundle_copy)[0] == 0
        assert run(capsys, "inspect", bundle_copy, "--hash")[0] == 2


class TestProfile:
    def test_ratios_against_eager_in_the_same_run(
        self, capsys: pytest.CaptureFixture[str], small_bundle: Path, small_checkpoint: Path
    ) -> None:
        words = ("profile", small_bundle, "--compare", "torch", "--checkpoint", small_checkpoint)
        status, out, _ = run(capsys, *words, "--inferences", 2, "--warmup", 1, "--json")
        answer = json.loads(out)
        assert status == 0
        assert set(answer["latency"]) == {"onnxruntime", "torch"}
        for stages in answer["latency"].values():
            for latency in stages.values():
                assert latency["count"] == 2
                assert 0 < latency["p50_ms"] <= latency["p90_ms"] <= latency["p99_ms"] <= latency["max_ms"]
        for stage in ("text", "perceive", "act", "total"):
            medians = [answer["latency"][b][stage]["p50_ms"] for b in ("torch", "onnxruntime")]
            assert answer["speedup"][stage] == pytest.approx(medians[0] / medians[1])

    def test_as_a_table(self, capsys: pytest.CaptureFixture[str], small_bundle: Path) -> None:
        status, out, _ = run(capsys, "profile", small_bundle, "--inferences", 1, "--warmup", 0)
        assert status == 0
        assert "p99" in out
        assert "perceive" in out

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--inferences", "0"], "--inferences 0: expected a whole number from 1"),
            (["--compare", "onnxruntime"], "is the measured backend itself"),
            (["--backend", "coreml"], "unknown backend 'coreml'"),
        ],
    )
    def test_wrong_usage_is_status_2(
        self, capsys: pytest.CaptureFixture[str], small_bundle: Path, words: list[str], said: str
    ) -> None:
        status, _, err = run(capsys, "profile", small_bundle, *words)
        assert status == 2
        assert said in err
