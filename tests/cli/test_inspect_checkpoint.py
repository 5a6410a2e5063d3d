"""A checkpoint where a bundle is expected: `inspect` shows what it is, every command names the export."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from project import ROOT, shell_lines

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.cli import inspect as command
from vpp_edge.cli.main import build_parser, main
from vpp_edge.installing import pip_install


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main([str(word) for word in words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def exports(text: str) -> list[str]:
    """The words of the export command at the end of a message, which must be one."""
    words = shlex.split(text[text.index("vpp-edge export") :])
    parsed = build_parser({"export"}).parse_args(words[1:])
    assert paths_from_folder(parsed.checkpoint).policy.is_file() and parsed.output.name.endswith("_bundle")
    return words


def test_inspect_shows_the_policy_and_how_to_export_it(
    capsys: pytest.CaptureFixture[str], small_checkpoint: Path
) -> None:
    status, out, _ = run(capsys, "inspect", small_checkpoint)
    assert status == 0
    for words in (
        "not exported yet",
        "xhand, 2 cameras (static, wrist)",
        "joint_position",
        "weights are complete",
        "TemporalDecoder",
    ):
        assert words in out
    exports(out)


def test_as_json(capsys: pytest.CaptureFixture[str], small_checkpoint: Path, small_bundle: Path) -> None:
    status, out, _ = run(capsys, "inspect", small_checkpoint, "--json")
    answer = json.loads(out)
    assert status == 0 and answer["image_encoder"] == "AutoencoderKLTemporalDecoder"
    assert answer["policy"] == json.loads(json.dumps(Bundle(small_bundle).manifest.policy.to_json()))
    exports(answer["export"])


def test_a_damaged_checkpoint_is_status_2(capsys: pytest.CaptureFixture[str], small_copy: Path) -> None:
    (small_copy / "policy.pt").write_bytes(b"PK")
    status, out, err = run(capsys, "inspect", small_copy)
    assert (status, out) == (2, "") and "policy.pt" in err and "bug" not in err


def test_without_pytorch_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, small_checkpoint: Path
) -> None:
    monkeypatch.setattr(command, "is_installed", lambda module: False)
    status, _, err = run(capsys, "inspect", small_checkpoint)
    assert status == 2 and f"the checkpoint {small_checkpoint}" in err and pip_install("export") in err


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "CKPT", "--hash"],
        ["verify", "CKPT"],
        ["verify", "BUNDLE", "CKPT", "--hashes-only"],
        ["profile", "CKPT"],
        ["build", "CKPT"],
        ["calibrate", "CKPT", "recordings", "-o", "table.json"],
        ["chaos", "CKPT"],
        ["profile", "CKPT", "--roofline", "orin-agx-64gb"],
        [
            "run",
            "CKPT",
            "--hand",
            "sim",
            "--instruction",
            "x",
            "--camera",
            "software:sim/side",
            "--camera",
            "software:sim/wrist",
        ],
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_every_command_that_takes_a_bundle_names_the_export(
    capsys: pytest.CaptureFixture[str], small_checkpoint: Path, small_bundle: Path, words: list[str]
) -> None:
    places = {"CKPT": small_checkpoint, "BUNDLE": small_bundle}
    status, _, err = run(capsys, *(places.get(word, word) for word in words))
    assert status == 2
    if "--hashes-only" in words:
        assert "pass one reference" in err
    else:
        exports(err.splitlines()[-1])


def test_a_folder_with_spaces_is_quoted(
    capsys: pytest.CaptureFixture[str], small_checkpoint: Path, tmp_path: Path
) -> None:
    link = tmp_path / "my policy"
    link.symlink_to(small_checkpoint)
    assert exports(run(capsys, "verify", link)[2])[2] == str(link)


def test_a_file_is_no_bundle(capsys: pytest.CaptureFixture[str], small_checkpoint: Path) -> None:
    status, _, err = run(capsys, "inspect", small_checkpoint / "policy.pt")
    assert status == 2 and "a file, but a bundle is a folder" in err


def test_the_exports_of_the_readme_do_not_write_over_each_other() -> None:
    outputs = [
        words[words.index("-o") + 1] for words in shell_lines(ROOT / "README.md", "vpp-edge") if words[1] == "export"
    ]
    assert len(outputs) >= 4 and len(set(outputs)) == len(outputs)
