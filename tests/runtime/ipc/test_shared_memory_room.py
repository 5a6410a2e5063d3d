"""Too little shared memory, or too few file descriptors, is an error that names the remedy; never a killed process."""

from __future__ import annotations

import errno
import glob
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vpp_edge.errors import BadInputError
from vpp_edge.runtime.ipc import channels as module
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.rings import room

pytestmark = pytest.mark.live
TWO = ("static", "wrist")
VGA = 640 * 480 * 3
DOCKER = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$0" -c "$1"'
# Makes the channels of two cameras, fills every frame, and says what is left behind.
FILL = """
import glob, sys
from vpp_edge.errors import BadInputError
from vpp_edge.runtime.ipc.channels import Channels
try:
    channels = Channels.create(("static", "wrist"), 8, 19, pixel_bytes={pixels})
    for camera in channels.cameras:
        for _ in range(camera.frames.depth):
            camera.frames.begin()["pixels"][:] = 1
            camera.frames.commit(1)
    channels.close()
    print("filled")
except BadInputError as error:
    print(error)
print("left behind:", glob.glob("/dev/shm/*"))
"""


def in_docker_s_default(code: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with 64 MiB of /dev/shm of its own, as a container has."""
    try:
        tried = subprocess.run(
            ["unshare", "-m", "sh", "-c", DOCKER, "true"], capture_output=True, text=True, timeout=60
        )
    except FileNotFoundError:
        pytest.skip("no `unshare` on this machine to make a small /dev/shm with")
    if tried.returncode:
        pytest.skip(f"a private /dev/shm is not permitted here: {tried.stderr.strip()}")
    command = ["unshare", "-m", "sh", "-c", DOCKER, sys.executable, code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_two_large_cameras_in_docker_s_default_are_refused_with_the_remedy() -> None:
    answer = in_docker_s_default(FILL.format(pixels=()))
    assert answer.returncode == 0, answer.stderr
    assert "this run with 2 cameras needs 73." in answer.stdout and "has 64.0 MiB free" in answer.stdout
    assert "--shm-size" in answer.stdout and "remount" in answer.stdout
    assert "left behind: []" in answer.stdout


def test_two_small_cameras_fit_into_docker_s_default() -> None:
    answer = in_docker_s_default(FILL.format(pixels=(VGA, VGA)))
    assert (answer.returncode, answer.stdout) == (0, "filled\nleft behind: []\n"), answer.stderr


def test_the_room_that_is_checked_is_the_room_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[int] = []
    monkeypatch.setattr(module, "check_room", lambda needed, purpose: checked.append(needed))
    before = taken()
    channels = Channels.create(TWO, 8, 19, 7, pixel_bytes=(VGA, 3 * 64 * 48))
    try:
        assert checked == [taken() - before]
    finally:
        channels.close()
    assert taken() == before


def taken() -> int:
    """Bytes of the blocks of this process that are really allocated."""
    return sum(512 * os.stat(path).st_blocks for path in glob.glob(f"/dev/shm/vppe-{os.getpid()}-*"))


@pytest.mark.parametrize("after", [0, 1, 7])
def test_a_block_that_cannot_be_reserved_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    reserve, calls = os.posix_fallocate, []

    def full(descriptor: int, offset: int, size: int) -> None:
        calls.append(size)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reserve(descriptor, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(BadInputError, match=r"channel '[-\w]+' of this run needs .* MiB .*--shm-size"):
        Channels.create(TWO, 8, 19)
    assert not glob.glob(f"/dev/shm/vppe-{os.getpid()}-*")


def test_a_limit_of_file_descriptors_is_not_blamed_on_shared_memory() -> None:
    code = (
        "import resource\n"
        "from vpp_edge.errors import BadInputError\n"
        "from vpp_edge.runtime.ipc.channels import Channels\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))\n"
        "try:\n    Channels.create(('static', 'wrist'), 8, 19)\n"
        "except BadInputError as error:\n    print(error)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "too many open files (a process may have 20 of them)" in answer.stdout, answer.stderr
    assert "ulimit -n" in answer.stdout and "shm" not in answer.stdout


def test_what_the_system_does_not_say_is_no_reason_to_refuse(tmp_path: Path) -> None:
    room.check_room(1 << 60, "a run", tmp_path / "nowhere")
    with pytest.raises(BadInputError, match=r"a run needs 1099511627776\.0 MiB"):
        room.check_room(1 << 60, "a run", tmp_path)
