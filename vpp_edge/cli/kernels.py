"""`vpp-edge kernels`: resources and machine code of our kernels by architecture, or the bytes that they save."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp_edge.cli.libraries import install_command
from vpp_edge.cli.numbers import Number
from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.files.outputs import check_output_folder
from vpp_edge.installing import is_installed
from vpp_edge.number_range import whole
from vpp_edge.progress import Progress
from vpp_edge.wording import counted

if TYPE_CHECKING:
    from vpp_edge.kernels.artifact import CompiledKernel

HELP = """Compile the GPU kernels of this package ahead of time, or list what they fuse. Neither needs a GPU.

  vpp-edge kernels compile --sm 87                    (registers, spills, shared memory; exit status 1 on spills)
  vpp-edge kernels compile --sm 87 90 --output cubin/ (also save the machine code)
  vpp-edge kernels list                               (bytes per inference with two cameras: counted, not measured)"""


ARCHITECTURE = whole(10, 999)  # which of them the kernels support, the compiler says


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("compile", "list"))
    parser.add_argument(
        "--sm",
        type=Number(ARCHITECTURE),
        nargs="+",
        metavar="XY",
        help="architectures, 10 * major + minor (default: all supported)",
    )
    parser.add_argument("--kernel", nargs="+", metavar="NAME", help="only these operations (default: all)")
    parser.add_argument("--case", nargs="+", metavar="NAME", help="only these cases (default: all full-size ones)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="for compile: save the machine code here")


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "compile":
        return _compile(arguments)
    if arguments.sm or arguments.output:
        raise BadInputError("--sm and --output are options of `vpp-edge kernels compile`; list does not take them")
    return _list(arguments)


def _compile(arguments: argparse.Namespace) -> int:
    if not is_installed("triton"):
        raise MissingDependencyError("triton", "compiling kernels", install_command("triton"))
    if arguments.output is not None:
        check_output_folder(arguments.output, "--output")
    from vpp_edge.kernels.compiler import ARCHITECTURES, compile_case

    architectures = arguments.sm or list(ARCHITECTURES)
    if unknown := [sm for sm in architectures if sm not in ARCHITECTURES]:
        raise BadInputError(
            f"--sm {unknown[0]} is not supported by the kernels; expected {', '.join(map(str, ARCHITECTURES))}"
        )
    selected = _selected(arguments)
    compiled: list[CompiledKernel] = []
    steps = [(f"sm_{sm}", 0.3 * len(selected)) for sm in architectures]
    with Progress("kernels", steps, quiet=arguments.quiet) as progress:
        for sm in architectures:
            for index, (operation, case) in enumerate(selected):
                progress(f"sm_{sm}", index / len(selected))
                compiled += compile_case(operation, case, sm)
    if arguments.output is not None:
        for kernel in compiled:
            kernel.save(arguments.output)
    spilling = [kernel.stem for kernel in compiled if kernel.spill_bytes]
    if arguments.json:
        print(json.dumps({"kernels": [_row(kernel) for kernel in compiled], "spilling": spilling}))
    else:
        print("\n".join(_table(compiled)))
    return 1 if spilling else 0


def _selected(arguments: argparse.Namespace) -> list[tuple[Any, Any]]:
    """Pairs of operation and case with the given names; by default all full-size cases."""
    from vpp_edge.kernels.catalogue import load_operation

    selected = [
        (operation, case)
        for operation in map(load_operation, _names(arguments))
        for case in operation.cases
        if (case.name in arguments.case if arguments.case else not case.interpreted)
    ]
    if not selected:
        raise _no_case(arguments)
    return selected


def _names(arguments: argparse.Namespace) -> list[str]:
    """The operations that are asked for; by default all."""
    from vpp_edge.kernels.catalogue import OPERATIONS, check_name

    for name in arguments.kernel or ():
        check_name(name)
    return list(arguments.kernel or OPERATIONS)


def _no_case(arguments: argparse.Namespace) -> BadInputError:
    return BadInputError(
        f"no kernel has a case {', '.join(arguments.case)}; `vpp-edge kernels list --json` shows the full-size ones"
    )


def _row(kernel: CompiledKernel) -> dict[str, Any]:
    return {
        "kernel": kernel.operation,
        "case": kernel.case,
        "step": kernel.step,
        "sm": kernel.architecture,
        "registers": kernel.registers,
        "spill_bytes": kernel.spill_bytes,
        "shared_bytes": kernel.shared_bytes,
        "warps": kernel.warps,
        "grid": kernel.grid,
        "compiler": kernel.compiler,
    }


def _table(compiled: list[CompiledKernel]) -> list[str]:
    """One line per launch and architecture, and a summary."""
    lines = [
        f"{'kernel':<20} {'case':<24} {'step':>4} {'sm':>3} {'registers':>9} {'spill_bytes':>11} {'shared':>7} "
        f"{'warps':>5}  grid"
    ]
    for k in compiled:
        grid = " x ".join(map(str, k.grid))
        lines.append(
            f"{k.operation:<20} {k.case:<24} {k.step:>4} {k.architecture:>3} {k.registers:>9} {k.spill_bytes:>11} "
            f"{k.shared_bytes:>7} {k.warps:>5}  {grid}"
        )
    spilling = sum(1 for k in compiled if k.spill_bytes)
    lines.append(
        f"{counted(len(compiled), 'kernel')} compiled with {compiled[0].compiler}; {spilling} of them spill registers"
    )
    return lines


def _list(arguments: argparse.Namespace) -> int:
    from vpp_edge.kernels.listing import kept_rows, lines_of_listing

    rows = kept_rows(_names(arguments), arguments.case or ())
    if not rows:
        raise _no_case(arguments)
    print(json.dumps({"cases": rows}) if arguments.json else "\n".join(lines_of_listing(rows)))
    return 0
