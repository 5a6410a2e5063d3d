"""What a process requests from the operating system to keep its deadlines, with notes on what was not granted."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Collection, Iterator

from vpp_edge.errors import BadInputError

SWITCH_INTERVAL_S = 0.0005  # after this another thread gives up the interpreter lock; Python's default is 5 ms
FIFO_PRIORITY = 50  # above ordinary work, below the kernel's own threads
BESIDE_PRIORITY = 40  # of threads that share the interpreter lock with the loop: nothing else may preempt them
_PR_SET_PDEATHSIG = 1
_MCL_CURRENT, _MCL_ONFAULT = 1, 4  # resident pages stay resident; pages never touched cost nothing


@contextlib.contextmanager
def quiet_interpreter() -> Iterator[None]:
    """No garbage collection inside: live objects are frozen, cycles wait until the end; threads switch quickly."""
    was_enabled, interval = gc.isenabled(), sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    gc.disable()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def on_cpus(cpus: Collection[int] | None) -> Iterator[None]:
    """The calling thread, and processes that it starts inside, run on these cores only; None: as before."""
    if cpus is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def usable_cpus() -> set[int]:
    """The cores that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def other_cpus(cpu: int | None) -> frozenset[int] | None:
    """The cores left for everything else when the loop has one to itself; None where it shares all of them.

    Raises:
        BadInputError: this process may not use that core, or no other one.
    """
    if cpu is None:
        return None
    usable = usable_cpus()
    if cpu not in usable or len(usable) < 2:
        raise BadInputError(
            f"--control-cpu {cpu}: expected one of the cores {sorted(usable)} that this process may use, with at least "
            "one other for everything else"
        )
    return frozenset(usable - {cpu})


@contextlib.contextmanager
def real_time_thread() -> Iterator[tuple[str, ...]]:
    """SCHED_FIFO for the calling thread and locked memory for the process, where permitted; yields notes on both."""
    notes, before = [], None
    if not hasattr(os, "sched_setscheduler"):
        notes.append("scheduling: ordinary (this system has no SCHED_FIFO)")
    else:
        try:
            before = os.sched_getscheduler(0), os.sched_getparam(0)
            _set_fifo(FIFO_PRIORITY)
            notes.append(f"scheduling: SCHED_FIFO {FIFO_PRIORITY}")
        except OSError as error:
            before = None
            notes.append(f"scheduling: ordinary (SCHED_FIFO not permitted: {error.strerror}; see `vpp-edge doctor`)")
    locked = _libc_call("mlockall", _MCL_CURRENT | _MCL_ONFAULT)
    notes.append("memory: locked" if locked is None else f"memory: not locked ({locked})")
    try:
        yield tuple(notes)
    finally:
        if before is not None:
            os.sched_setscheduler(0, *before)
        if locked is None:
            _libc_call("munlockall")


def keep_pace_with_loop() -> None:
    """SCHED_FIFO for a thread of the loop's process, where permitted.

    Without it a busy machine can suspend the thread while it holds the interpreter lock, and the loop with it.
    """
    with contextlib.suppress(OSError, AttributeError):
        _set_fifo(BESIDE_PRIORITY)


def _set_fifo(priority: int) -> None:
    """For the calling thread; processes that it starts are scheduled normally."""
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))


def die_with_parent(parent_pid: int) -> None:
    """Has the kernel kill this process when its parent dies for any reason (Linux only)."""
    if sys.platform.startswith("linux"):
        _libc_call("prctl", _PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent_pid:  # it died before the call
            os._exit(1)


def leave_signals_to_parent() -> None:
    """Ctrl-C reaches every process of the terminal; only the control process handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _libc_call(name: str, *arguments: int) -> str | None:
    """Calls a C function that returns 0 on success; None, or why it failed."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if getattr(library, name)(*map(ctypes.c_ulong, arguments)) == 0:
            return None
    except (OSError, AttributeError, TypeError):
        return "not on this system"
    return os.strerror(ctypes.get_errno())
