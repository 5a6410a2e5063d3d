"""Refusals of the system are told from bugs, and a command that meets one says what to do."""

from __future__ import annotations

import errno
import os
import re

import pytest

from vpp_edge.cli import main as cli
from vpp_edge.machine_limits import limit_behind


def refusal(number: int, filename: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), filename)


LIMITS = {
    "open files": (refusal(errno.EMFILE, "/dev/shm/block"), "too many open files .*ulimit -n"),
    "open files of all": (refusal(errno.ENFILE), "too many open files"),
    "processes": (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "another process .*--pids-limit"),
    "threads": (RuntimeError("can't start new thread"), "another process or thread .*ulimit -u"),
    "memory": (MemoryError(), "too little free memory"),
    "memory of the kernel": (refusal(errno.ENOMEM), "too little free memory"),
    "disk": (refusal(errno.ENOSPC, "bundle/act.onnx"), "^bundle/act.onnx: no space left"),
    "quota": (refusal(errno.EDQUOT), "^no space left"),
    "permission": (refusal(errno.EACCES, "secret"), "^secret: Permission denied; check"),
    "read-only": (refusal(errno.EROFS, "out"), "^out: Read-only file system"),
}
BUGS = {
    "missing file": refusal(errno.ENOENT, "forgotten"),
    "full pipe": refusal(errno.EAGAIN, "pipe"),
    "permission without a file": refusal(errno.EPERM),
    "runtime": RuntimeError("shape mismatch"),
    "value": ValueError("1"),
}


@pytest.mark.parametrize(("error", "message"), LIMITS.values(), ids=LIMITS.keys())
def test_a_command_says_which_limit_ended_it(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(words: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_run", run)
    assert cli.main(["inspect"]) == 2
    shown = capsys.readouterr().err
    assert "Traceback" not in shown and "bug" not in shown
    assert re.search(message, shown.removeprefix("error: ")), shown


@pytest.mark.parametrize("error", BUGS.values(), ids=BUGS.keys())
def test_everything_else_may_be_a_bug(error: Exception) -> None:
    assert limit_behind(error) is None
