"""`vpp-edge kernels`: in, architectures; out, what each kernel of ours takes of them, its machine code, its bytes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp_edge.cli.libraries import install_command, is_installed
from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.progress import Progress

if TYPE_CHECKING:
    from vpp_edge.kernels.artifact import CompiledKernel

HELP = """Compile the GPU kernels of this package ahead of time, or list what they fuse. Neither needs a GPU.

  vpp-edge kernels compile --sm 87                    (registers, spills, shared memory; spills are exit status 1)
  vpp-edge kernels compile --sm 87 90 --output cubin/ (also keep the machine code)
  vpp-edge kernels list                               (bytes of an inference with two cameras: counted, not measured)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("compile", "list"))
    parser.add_argument(
        "--sm", type=int, nargs="+", metavar="XY", help="architectures, 10 * major + minor (all that are supported)"
    )
    parser.add_argument("--kernel", nargs="+", metavar="NAME", help="only these operations (all)")
    parser.add_argument("--case", nargs="+", metavar="NAME", help="only cases of these names (all of full size)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="for compile: where machine code is kept")


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "compile":
        return _compile(arguments)
    if arguments.sm or arguments.output:
        raise BadInputError("--sm and --output belong to `vpp-edge kernels compile`; list counts for no architecture")
    return _list(arguments)


def _compile(arguments: argparse.Namespace) -> int:
    if not is_installed("triton"):
        raise MissingDependencyError("triton", "compiling kernels", install_command("triton"))
    from vpp_edge.kernels.compiler import ARCHITECTURES, compile_case

    architectures = arguments.sm or list(ARCHITECTURES)
    if unknown := [sm for sm in architectures if sm not in ARCHITECTURES]:
        raise BadInputError(f"no kernel is tuned for --sm {unknown[0]}; expected {', '.join(map(str, ARCHITECTURES))}")
    chosen = _chosen(arguments)
    compiled: list[CompiledKernel] = []
    with Progress("kernels", [(f"sm_{sm}", 0.3 * len(chosen)) for sm in architectures], quiet=arguments.quiet) as shown:
        for sm in architectures:
            for done, (operation, case) in enumerate(chosen):
                shown(f"sm_{sm}", done / len(chosen))
                compiled += compile_case(operation, case, sm)
    if arguments.output is not None:
        for kernel in compiled:
            kernel.save(arguments.output)
    spilling = [kernel.stem for kernel in compiled if kernel.spill_bytes]
    if arguments.json:
        print(json.dumps({"kernels": [_facts(kernel) for kernel in compiled], "spilling": spilling}))
    else:
        print("\n".join(_table(compiled)))
    return 1 if spilling else 0


def _chosen(arguments: argparse.Namespace) -> list[tuple[Any, Any]]:
    """Operations with their cases, by the names that were given; all of full size where none were."""
    from vpp_edge.kernels.catalogue import OPERATIONS, operation

    chosen = [
        (found, case)
        for found in map(operation, arguments.kernel or OPERATIONS)
        for case in found.cases
        if (case.name in arguments.case if arguments.case else not case.interpreted)
    ]
    if not chosen:
        raise BadInputError(f"no kernel has a case {', '.join(arguments.case)}; `vpp-edge kernels list` shows them")
    return chosen


def _facts(kernel: CompiledKernel) -> dict[str, Any]:
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
    """One line for each launch and architecture, and a summary."""
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
    lines.append(f"{len(compiled)} kernels compiled with {compiled[0].compiler}, {spilling} of them spill registers")
    return lines


def _list(arguments: argparse.Namespace) -> int:
    from vpp_edge.kernels.listing import lines_of_listing, row_of_case

    rows = [row_of_case(operation, case) for operation, case in _chosen(arguments)]
    print(json.dumps({"cases": rows}) if arguments.json else "\n".join(lines_of_listing(rows)))
    return 0
