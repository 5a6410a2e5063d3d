"""Every command tries its outputs before the work: the error names the output, though the input is not there either."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vpp_edge.cli import main as cli

TWO = ("--camera", "software:sim/top", "--camera", "software:sim/side")
RUN = ("run", "latency_ms=20", "--backend", "scripted", *TWO, "--instruction", "x")
FILES = {
    "calibrate": ("calibrate", "nowhere", "nowhere", "-o"),
    "chaos page": ("chaos", "nowhere", "--html"),
    "log": (*RUN, "--log"),
}
WHOLE_FOLDERS = {
    "export": ("export", "nowhere", "-o"),
    "export again": ("export", "nowhere", "--overwrite", "-o"),
}
FOLDERS = {
    **WHOLE_FOLDERS,
    "calibrate report": ("calibrate", "nowhere", "nowhere", "-o", "table.json", "--report"),
    "demo": ("demo", "--output"),
    "eval demo": ("eval", "demo", "-o"),
    "chaos demo": ("chaos", "demo", "-o"),
    "kernels": ("kernels", "compile", "--output"),
    "recording": (*RUN, "--record"),
}
COMMAND = [sys.executable, "-c", "import sys; from vpp_edge.cli.main import main; sys.exit(main())"]
HANGS_S = 120


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("kept")
    Path("folder").mkdir()
    Path("link").symlink_to("nowhere")
    return tmp_path


def refused(words: tuple[str, ...], output: str, capsys: pytest.CaptureFixture[str]) -> str:
    before = sorted(Path.cwd().rglob("*"))
    status = cli.main([*words, output])
    error = capsys.readouterr().err
    assert status == 2 and "Traceback" not in error, error
    assert output in error.splitlines()[-1]
    assert sorted(Path.cwd().rglob("*")) == before and Path("file").read_text() == "kept"
    return error


@pytest.mark.parametrize("output", ["link", "file/below", "/proc/nowhere", "x" * 300, f"{'y' * 300}/x"])
@pytest.mark.parametrize("words", (FILES | FOLDERS).values(), ids=(FILES | FOLDERS).keys())
def test_an_output_that_cannot_be_is_refused_at_once(
    words: tuple[str, ...], output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(words, output, capsys)


@pytest.mark.parametrize("output", ["folder", ".", "/", "/dev/null", "/dev/full"])
@pytest.mark.parametrize("words", FILES.values(), ids=FILES.keys())
def test_a_folder_or_a_device_is_no_file(
    words: tuple[str, ...], output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    device = os.stat("/dev/null").st_rdev
    refused(words, output, capsys)
    assert os.stat("/dev/null").st_rdev == device


@pytest.mark.parametrize("output", ["file", "/dev/null"])
@pytest.mark.parametrize("words", FOLDERS.values(), ids=FOLDERS.keys())
def test_a_file_is_no_folder(words: tuple[str, ...], output: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(words, output, capsys)


@pytest.mark.live
def test_a_read_only_disk_is_noticed_at_once(tmp_path: Path) -> None:
    """Also for root, whom permissions do not stop."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = f"mount -t tmpfs -o ro tmpfs {disk} && cd {disk}"
    try:
        tried = subprocess.run(["unshare", "-m", "sh", "-c", mounted], capture_output=True, text=True, timeout=HANGS_S)
    except FileNotFoundError:
        pytest.skip("no `unshare` on this machine to mount a disk with")
    if tried.returncode:
        pytest.skip(f"mounting a disk is not permitted here: {tried.stderr.strip()}")
    every = [[*words, "output"] for words in (FILES | FOLDERS).values() if "table.json" not in words]
    code = (
        "import json, sys; from vpp_edge.cli.main import main\n"
        "for words in json.loads(sys.argv[1]): print(main(words), file=sys.stderr)"
    )
    command = ["unshare", "-m", "sh", "-c", f'{mounted} && exec "$0" -c "$1" "$2"', sys.executable, code]
    answer = subprocess.run([*command, json.dumps(every)], capture_output=True, text=True, timeout=HANGS_S)
    lines = [line for line in answer.stderr.splitlines() if not line.startswith("note")]
    assert lines[1::2] == ["2"] * len(every), answer.stderr
    assert all("output: cannot be written (Read-only file system)" in line for line in lines[::2])


def test_no_folder_for_temporary_files_is_noticed_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import tempfile

    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    for words in (
        ("calibrate", "nowhere", "nowhere", "-o", "c.json"),
        ("chaos", "nowhere"),
        ("export", "n", "-o", "b"),
    ):
        assert cli.main(list(words)) == 2
        assert "TMPDIR" in capsys.readouterr().err


def test_a_recording_does_not_go_into_another_layout(capsys: pytest.CaptureFixture[str]) -> None:
    for name, folders in {
        "lerobot": ("meta", "data", "videos"),
        "bundle": ("onnx",),
        "both": ("annotation", "meta"),
    }.items():
        for folder in folders:
            Path(name, folder).mkdir(parents=True)
        assert "another layout" in refused((*RUN, "--record"), name, capsys)


def test_metrics_on_a_port_in_use_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert "in use" in refused((*RUN, "--metrics"), port, capsys)
    assert "in use" not in refused((*RUN, "--metrics"), "link/x", capsys)


@pytest.mark.live
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_ends_a_command_as_ctrl_c_does(number: signal.Signals, tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom vpp_edge.cli import main as cli\n"
        "from vpp_edge.files.partial import partial_folder\n"
        "def run(words):\n"
        "    with partial_folder(Path('bundle')) as folder:\n"
        "        (folder / 'half').touch()\n"
        "        print('begun', flush=True)\n"
        f"        time.sleep({HANGS_S})\n"
        "cli._run = run\nsys.exit(cli.main())"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    assert [path for path in os.listdir() if "bundle" in path]
    process.send_signal(number)
    process.send_signal(number)  # a closed terminal may send more than one
    _, error = process.communicate(timeout=HANGS_S)
    assert (process.returncode, error) == (130, "error: interrupted\n")
    assert not [path for path in os.listdir() if "bundle" in path]


@pytest.mark.live
def test_what_nohup_ignores_stays_ignored() -> None:
    code = "import os, signal, sys; from vpp_edge.cli.signals import ended_by_signals\n"
    code += "with ended_by_signals(): os.kill(os.getpid(), signal.SIGHUP); print('alive')"
    command = f"trap '' HUP; exec {sys.executable} -c \"$0\""
    answer = subprocess.run(["sh", "-c", command, code], capture_output=True, text=True, timeout=HANGS_S)
    assert answer.stdout == "alive\n", answer.stderr


def test_an_existing_output_can_be_written_again(capsys: pytest.CaptureFixture[str]) -> None:
    """What is refused then is the input."""
    assert cli.main(["calibrate", "nowhere", "nowhere", "-o", "file", "--overwrite"]) == 2
    assert "nowhere: no such bundle" in capsys.readouterr().err
    assert cli.main(["chaos", "nowhere", "--html", "file"]) == 2
    assert "nowhere: no such bundle" in capsys.readouterr().err
    assert Path("file").read_text() == "kept"
