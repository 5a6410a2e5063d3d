"""The command `vpp-edge`: runs one command and returns its exit status (0 ok, 1 failed, 2 wrong usage or input).

A command's module is imported only when that command is used, so that `--help` is fast.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import select
import sys
import traceback
from collections.abc import Collection, Sequence
from types import ModuleType

from vpp_edge import __version__
from vpp_edge.cli.libraries import LIBRARIES, install_command
from vpp_edge.cli.parser import Formatter, Parser
from vpp_edge.errors import BadInputError, MissingDependencyError, VppEdgeError
from vpp_edge.spec.instruction import truncation_told_to

COMMANDS = {
    "export": "turn a trained checkpoint into a bundle that a robot can run",
    "calibrate": "measure a bundle on recordings, for INT8",
    "build": "turn a bundle into TensorRT engines for this device",
    "verify": "compare a bundle with its checkpoint or with recorded outputs",
    "run": "run a bundle on cameras and a hand",
    "chaos": "inject faults into live runs and measure how the runtime reacts",
    "eval": "play the simulated task with a policy and count successes",
    "profile": "measure the latency of every stage on this machine",
    "inspect": "show what is in a bundle",
    "kernels": "compile the GPU kernels of this package, or list what they save",
    "doctor": "report what this machine can run, and how to install what is missing",
    "demo": "press buttons with the policy of this package, in simulation, in real time",
    "completion": "print the completion script of a shell",
}

STATUS_INTERRUPTED = 130
STATUS_BROKEN_PIPE = 141

DESCRIPTION = "Carries a trained Video Prediction Policy from a research checkpoint onto a robot."
EPILOG = "See `vpp-edge COMMAND --help`. Exit status: 0 ok, 1 failed check, 2 wrong usage or bad input."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments after `vpp-edge`; by default those of this process.

    Returns:
        The exit status: the command's own, or that of the error that ended it.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    try:
        with truncation_told_to(_print_note):
            status = _run(words)
        sys.stdout.flush()
    except VppEdgeError as error:
        return _report(str(error), error.exit_status, as_json)
    except KeyboardInterrupt:
        return _report("interrupted", STATUS_INTERRUPTED, as_json)
    except BrokenPipeError:
        if not _stdout_has_no_reader():
            return _report_bug(as_json)
        # Flushing the buffer would raise again while Python shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return STATUS_BROKEN_PIPE
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
    except Exception as error:  # noqa: BLE001 - everything that gets here is a bug to report
        if _was_interrupted(error):
            return _report("interrupted", STATUS_INTERRUPTED, as_json)
        return _report_bug(as_json)
    return status


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
    parser = build_parser({name} if name in COMMANDS else ())
    arguments = parser.parse_args(words)
    return int(arguments.run(arguments) or 0)


def _add_common_arguments(command: argparse.ArgumentParser) -> None:
    taken = command._option_string_actions
    if "--json" not in taken:
        command.add_argument("--json", action="store_true", help="print one JSON object on stdout, the rest on stderr")
    if "--quiet" not in taken:
        command.add_argument("--quiet", action="store_true", help="show no progress")


def _print_note(note: str) -> None:
    over_progress = "\r\x1b[K" if sys.stderr.isatty() else ""
    print(f"{over_progress}note: {note}", file=sys.stderr)


def _report(message: str, exit_status: int, as_json: bool) -> int:
    if as_json:
        try:
            print(json.dumps({"error": message, "exit_status": exit_status}), flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    print(f"error: {message}", file=sys.stderr)
    return exit_status


def _report_bug(as_json: bool) -> int:
    traceback.print_exc()
    kind, value, _ = sys.exc_info()
    name = kind.__name__ if kind else "error"
    return _report(f"{name}: {value} (this is a bug in vpp-edge: please report it with the lines above)", 1, as_json)


def _stdout_has_no_reader() -> bool:
    """Whether the reader of our stdout has closed it, as `| head` does; any other broken pipe is a bug."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(events & select.POLLERR for _, events in poll.poll(0))
    except (OSError, ValueError):
        return False
