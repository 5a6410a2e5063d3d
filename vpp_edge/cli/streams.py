"""The standard streams of a command: always there, and a write that fails ends no work in the middle."""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from typing import Any, TextIO

OPENED = "backslashreplace"  # characters that the encoding of a stream lacks are written as escapes


class Output(io.FileIO):
    """Standard output or standard error, to which every write succeeds.

    After the first failure the rest goes to /dev/null, for children and libraries too; the caller reports it when the
    work is done. Only a reader that has gone away ends a command at once, as usual, where the main thread writes.

    Attributes:
        trouble: the first failure.
    """

    def __init__(self, descriptor: int, ends_without_reader: bool) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._ends = ends_without_reader
        self.trouble: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            while (written := super().write(content)) is None:  # the other end made it non-blocking, and it is full
                select.select([], [self.fileno()], [])
            return written
        except OSError as error:
            self.trouble = self.trouble or error
            _point_to_null(self.fileno())
            main = threading.current_thread() is threading.main_thread()
            if self._ends and main and isinstance(error, BrokenPipeError):
                raise
            return memoryview(content).nbytes


def usable_streams() -> Output | None:
    """Replaces the streams of this process; those that are closed become /dev/null, as nobody wants them.

    Returns:
        standard output; None where a caller of ours, such as a test, has replaced the streams itself.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            _point_to_null(descriptor)
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8", errors=OPENED)
    elif isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors=OPENED)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(Output(2, ends_without_reader=False), sys.stderr, by_line=True)
    if sys.stdout is not sys.__stdout__:
        return None
    output = Output(1, ends_without_reader=True)
    sys.stdout = _text(output, sys.stdout, by_line=output.isatty())
    return output


def _text(raw: Output, before: TextIO | None, by_line: bool) -> TextIO:
    encoding = "utf-8" if before is None else before.encoding
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors=OPENED, line_buffering=by_line)


def _point_to_null(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, descriptor)
    if null != descriptor:
        os.close(null)
