"""The command `vpp-edge`: runs one command and returns its exit status (those of EPILOG).

A command's module is imported only when that command is used, so that `--help` is fast.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Collection, Sequence
from types import ModuleType

from vpp_edge import __version__
from vpp_edge.cli.libraries import LIBRARIES, install_command
from vpp_edge.cli.notes import print_note
from vpp_edge.cli.parser import Formatter, Parser
from vpp_edge.cli.signals import ended_by_signals
from vpp_edge.cli.streams import Output, usable_streams
from vpp_edge.errors import BadInputError, MissingDependencyError, VppEdgeError
from vpp_edge.machine_limits import limit_behind
from vpp_edge.spec.instruction import truncation_told_to

COMMANDS = {
    "export": "turn a trained checkpoint into a bundle that a robot can run",
    "calibrate": "measure a bundle on recordings, for INT8",
    "build": "turn a bundle into TensorRT engines for this device",
    "verify": "compare a bundle with its checkpoint, another bundle or recorded outputs",
    "run": "run a bundle on cameras and a hand",
    "chaos": "inject faults into live runs and measure how the runtime reacts",
    "distill": "make a student of a trained policy that needs less work for an action",
    "sweep": "make many students and measure their latency, error and success",
    "eval": "play the simulated task with a policy and count successes",
    "profile": "measure the latency of every stage on this machine",
    "inspect": "show what is in a bundle or a checkpoint",
    "kernels": "compile the GPU kernels of this package, or list what they save",
    "doctor": "report what this machine can run, and how to install what is missing",
    "demo": "press buttons with the policy of this package, in simulation, in real time",
    "completion": "print the completion script of a shell",
}

STATUS_INTERRUPTED = 130
STATUS_BROKEN_PIPE = 141

DESCRIPTION = "Carries a trained Video Prediction Policy from a research checkpoint onto a robot."
EPILOG = (
    "See `vpp-edge COMMAND --help`. Exit status: 0 ok, 1 failed check, 2 wrong usage or bad input, 3 inconclusive, "
    "130 interrupted."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments after `vpp-edge`; by default those of this process.

    Returns:
        The exit status: the command's own, or that of the error that ended it.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    output = usable_streams()
    with ended_by_signals():
        status = _status(words, output)
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()
    if output is None or output.trouble is None:
        return status
    if isinstance(output.trouble, BrokenPipeError):
        return STATUS_BROKEN_PIPE
    return _report(f"standard output: {output.trouble.strerror}; what was to be printed is lost", status or 1, False)


def _status(words: list[str], output: Output | None) -> int:
    """Runs one command and reports the error that ended it, if any; its exit status."""
    as_json = "--json" in words
    try:
        with truncation_told_to(print_note):
            return _run(words)
    except VppEdgeError as error:
        return _report(str(error), error.exit_status, as_json)
    except KeyboardInterrupt:
        return _report("interrupted", STATUS_INTERRUPTED, as_json)
    except ModuleNotFoundError as error:
        missed = (error.name or "").partition(".")[0]
        library = next((name for name in LIBRARIES if name.partition(".")[0] == missed), None)
        if library is None:
            return _report_bug(as_json)
        missing = MissingDependencyError(library, "this command", install_command(library))
        return _report(str(missing), missing.exit_status, as_json)
    except SystemExit as end:
        # argparse ends the process after --help and --version.
        return end.code if isinstance(end.code, int) else 0
    except Exception as error:  # noqa: BLE001 - everything that gets here is a limit of the machine or a bug to report
        if isinstance(error, BrokenPipeError) and output is not None and output.trouble is not None:
            return STATUS_BROKEN_PIPE  # as `| head` does; any other broken pipe is a bug
        if _was_interrupted(error):
            return _report("interrupted", STATUS_INTERRUPTED, as_json)
        if (outside := limit_behind(error) or _undecodable(error)) is not None:
            return _report(outside, BadInputError.exit_status, as_json)
        return _report_bug(as_json)


def _undecodable(error: Exception) -> str | None:
    """Which name of a file is not UTF-8, if that is the error; Python keeps such bytes as lone surrogates."""
    if not isinstance(error, UnicodeEncodeError) or not any("\udc80" <= char <= "\udcff" for char in error.object):
        return None
    return f"{os.fsencode(error.object)!r} is not UTF-8; rename the file or folder"


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C caused an error: libraries that are interrupted may fail in their own clean-up."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def build_parser(filled: Collection[str]) -> argparse.ArgumentParser:
    """The parser with every command in its list; those in `filled` have their arguments.

    Raises:
        BadInputError: a command in `filled` is not in this build.
    """
    parser = Parser(prog="vpp-edge", description=DESCRIPTION, epilog=EPILOG, formatter_class=Formatter)
    parser.add_argument("--version", action="version", version=f"vpp-edge {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, help_line in COMMANDS.items():
        here = name in filled or is_in_this_build(name)
        command = commands.add_parser(name, help=help_line if here else f"{help_line} (not in this build)")
        if name in filled:
            module = import_command(name)
            command.description = module.HELP
            command.formatter_class = argparse.RawDescriptionHelpFormatter if "\n" in module.HELP else Formatter
            module.add_arguments(command)
            command.set_defaults(run=module.run)
            _add_common_arguments(command)
    return parser


def is_in_this_build(name: str) -> bool:
    """Whether the module of the command is installed; imports nothing of it."""
    return importlib.util.find_spec(f"vpp_edge.cli.{name}") is not None


def import_command(name: str) -> ModuleType:
    """The module of a command: `HELP`, `add_arguments(parser)` and `run(arguments) -> int`.

    Raises:
        BadInputError: the command is not in this build.
    """
    if not is_in_this_build(name):
        present = ", ".join(n for n in COMMANDS if is_in_this_build(n))
        raise BadInputError(f"the command {name!r} is not in this build of vpp-edge {__version__}. It has: {present}")
    return importlib.import_module(f"vpp_edge.cli.{name}")


def _run(words: list[str]) -> int:
    name = next((word for word in words if not word.startswith("-")), None)
    for word in words:
        _check_text(word)
    parser = build_parser({name} if name in COMMANDS else ())
    arguments = parser.parse_args(words)
    _check_working_directory()
    return int(arguments.run(arguments) or 0)


def _add_common_arguments(command: argparse.ArgumentParser) -> None:
    taken = command._option_string_actions
    if "--json" not in taken:
        command.add_argument("--json", action="store_true", help="print one JSON object on stdout, the rest on stderr")
    if "--quiet" not in taken:
        command.add_argument("--quiet", action="store_true", help="show no progress")


def _check_text(word: str) -> None:
    """Raises BadInputError for an argument that is not UTF-8, which libraries and bundles cannot hold."""
    try:
        word.encode()
    except UnicodeEncodeError:
        content = os.fsencode(word)
        try:
            content.decode()
        except UnicodeDecodeError:
            raise BadInputError(f"{content!r} is not UTF-8 text; write it in UTF-8, or rename the file") from None
        raise BadInputError(
            f"{content!r} cannot be read in this locale, which has no such characters; set LC_ALL=C.UTF-8, or "
            "PYTHONUTF8=1"
        ) from None


def _check_working_directory() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise BadInputError(
            f"the working directory does not exist any more ({error.strerror}); change to another folder and try again"
        ) from error


def _report(message: str, exit_status: int, as_json: bool) -> int:
    if as_json:
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"error": message, "exit_status": exit_status}), flush=True)
    print(f"error: {message}", file=sys.stderr)
    return exit_status


def _report_bug(as_json: bool) -> int:
    traceback.print_exc()
    kind, value, _ = sys.exc_info()
    name = kind.__name__ if kind else "error"
    return _report(f"{name}: {value} (this is a bug in vpp-edge: please report it with the lines above)", 1, as_json)
