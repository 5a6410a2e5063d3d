"""`vpp-edge build`: builds TensorRT engines from a bundle, into its folder `engines/`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.cli.completion_scripts import offered_for
from vpp_edge.cli.numbers import Number
from vpp_edge.errors import BadInputError
from vpp_edge.files.outputs import check_output_file
from vpp_edge.files.writing import write_whole
from vpp_edge.progress import Progress
from vpp_edge.runtime.policy.engines.tensorrt.flags import (
    AUXILIARY_STREAMS,
    ENABLE,
    LEVELS,
    SPARSITIES,
    TILINGS,
    VERBOSITIES,
    BuildFlags,
    memory_pools_from_text,
)
from vpp_edge.runtime.policy.engines.tensorrt.library import LIBRARIES, library_of_backend

if TYPE_CHECKING:
    from vpp_edge.runtime.policy.engines.tensorrt.build import BuiltEngine, Target

HELP = """Build TensorRT engines from a bundle and keep them in its folder engines/.

An engine fits one device and one version of TensorRT, so build on the robot. An existing engine for the same graph,
library, device and options is reused. Options are named as in trtexec.

  vpp-edge build my_bundle/                                       (for the GPU of this machine)
  vpp-edge build my_bundle/ --backend tensorrt-rtx --sm 86 89     (for other machines; needs no GPU)"""

# Seconds of TensorRT-RTX per byte of graph on a desktop CPU, the first estimate of the progress display (the files hold
# names and shapes, the weights are in a separate file): 17 s for 0.6 MB, 12 s for 0.34 MB.
SECONDS_PER_GRAPH_BYTE = 30e-6

STAGES = ("text", "perceive", "act")
REFUSED = {
    "shapes": "the shapes of a bundle's stages are fixed; `vpp-edge inspect` shows them",
    "minShapes": "the shapes of a bundle's stages are fixed",
    "optShapes": "the shapes of a bundle's stages are fixed",
    "maxShapes": "the shapes of a bundle's stages are fixed",
    "fp16": "precision is part of the graph: `vpp-edge export --precision`",
    "int8": "precision is part of the graph: `vpp-edge export --precision`",
    "best": "precision is part of the graph: `vpp-edge export --precision`",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--backend", choices=tuple(LIBRARIES), help="engine library (the installed one)")
    parser.add_argument(
        "--sm",
        nargs="+",
        action="extend",
        default=[],
        metavar="SM",
        help="build for this compute capability, such as 86, instead of the GPU of this machine (tensorrt-rtx only)",
    )
    stage = parser.add_argument(
        "--stage", nargs="+", action="extend", default=[], metavar="STAGE", help="build only these stages (all)"
    )
    offered_for(stage, STAGES)
    parser.add_argument("--force", action="store_true", help="rebuild existing engines")
    parser.add_argument("--prune", action="store_true", help="remove engines that the new ones replace")
    parser.add_argument(
        "--builderOptimizationLevel", type=Number(LEVELS), metavar="N", help="0 builds quickly, 5 searches longest"
    )
    parser.add_argument(
        "--memPoolSize", metavar="POOL:MIB", help="memory limits of the pools workspace, tacticSharedMem"
    )
    parser.add_argument("--maxAuxStreams", type=Number(AUXILIARY_STREAMS), metavar="N", help="auxiliary streams")
    tiling = parser.add_argument("--tilingOptimizationLevel", metavar="LEVEL", help=", ".join(TILINGS))
    offered_for(tiling, TILINGS)
    verbosity = parser.add_argument(
        "--profilingVerbosity",
        default=BuildFlags.profiling_verbosity,
        metavar="KIND",
        help=f"what the engine reports about its layers: {', '.join(VERBOSITIES)} ({BuildFlags.profiling_verbosity})",
    )
    offered_for(verbosity, VERBOSITIES)
    parser.add_argument(
        "--sparsity",
        choices=SPARSITIES,
        help="let TensorRT use sparse kernels for 2:4 sparse weights where they are faster (enable if there are any)",
    )
    precision = parser.add_mutually_exclusive_group()
    precision.add_argument("--noTF32", action="store_true", help="no effect: it is the default here")
    precision.add_argument(
        "--tf32",
        action="store_true",
        help="allow TF32 in float32 layers: faster, but less exact than the bundle's certificate states",
    )
    parser.add_argument("--timingCacheFile", type=Path, metavar="FILE", help="timing cache to read and update")
    parser.add_argument(
        "--exportLayerInfo",
        type=Path,
        metavar="FILE",
        help="write the engines' layers to FILE-STAGE.json; on the device only",
    )
    parser.add_argument("--verbose", action="store_true", help="print all messages of the compiler on stderr")
    for option in REFUSED:
        parser.add_argument(f"--{option}", nargs="?", const="", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    from vpp_edge.runtime.policy.engines.tensorrt.build import (
        BuildOptions,
        build_engines,
        step_name,
        targets_of_library,
    )

    for option, reason in REFUSED.items():
        if getattr(arguments, option) is not None:
            raise BadInputError(f"--{option}: {reason}")
    started = time.monotonic()
    flags = BuildFlags(
        optimization_level=arguments.builderOptimizationLevel,
        memory_pools=memory_pools_from_text(arguments.memPoolSize) if arguments.memPoolSize else (),
        max_aux_streams=arguments.maxAuxStreams,
        tf32=arguments.tf32,
        tiling=arguments.tilingOptimizationLevel,
        profiling_verbosity=arguments.profilingVerbosity,
    )
    bundle = Bundle(arguments.bundle)
    sparse = arguments.sparsity == ENABLE if arguments.sparsity else bundle.manifest.sparse
    stages = [bundle.stage(name).name for name in dict.fromkeys(arguments.stage)] or list(bundle.manifest.stages)
    targets = targets_of_library(library_of_backend(arguments.backend), arguments.sm)
    if arguments.exportLayerInfo and arguments.sm:
        raise BadInputError("--exportLayerInfo needs the engine on its device; leave it out with --sm")
    for layers in _layer_files(arguments.exportLayerInfo, stages):
        check_output_file(layers, "--exportLayerInfo")
    if arguments.timingCacheFile is not None:
        check_output_file(arguments.timingCacheFile, "--timingCacheFile")
    timing_cache = _read_timing_cache(arguments.timingCacheFile, targets[0])
    options = BuildOptions(
        flags=replace(flags, sparsity=sparse),
        force=arguments.force,
        prune=arguments.prune,
        timing_cache=timing_cache,
        verbose=arguments.verbose,
    )
    expected = [(step_name(s, t), _expected_seconds(bundle, s)) for s in stages for t in targets]
    with Progress("build", expected, quiet=arguments.quiet) as progress:
        engines = build_engines(bundle, stages, targets, options, report=progress)
    if timing_cache is not None:
        write_whole(arguments.timingCacheFile, timing_cache.content)
    if arguments.exportLayerInfo:
        _export_layers(bundle, engines, targets[0], arguments.exportLayerInfo)
    for engine in engines:
        if engine.note:
            print(f"note: {engine.note}", file=sys.stderr)
        for said in engine.sparsity:
            print(f"{engine.record.key.stage}: {said:.300}", file=sys.stderr)
    summary = _summary(bundle, engines, targets[0], time.monotonic() - started)
    print(json.dumps(summary) if arguments.json else _table(summary))
    return 0


def _summary(bundle: Bundle, engines: list[BuiltEngine], target: Target, seconds: float) -> dict[str, Any]:
    rows = [
        {
            "stage": e.record.key.stage, "sm": e.record.key.sm, "seconds": e.record.seconds, "bytes": e.record.size,
            "cached": e.cached, "layers": e.record.layers, "precision": bundle.stage(e.record.key.stage).precision,
            "file": f"engines/{e.record.key.file}", "sha256": e.record.sha256, "pruned": list(e.pruned),
        }
        for e in engines
    ]  # fmt: skip
    return {
        "bundle": str(bundle.path),
        "backend": target.library.backend,
        "library": target.library.module,
        "version": target.version,
        "cuda": target.cuda,
        "seconds": round(seconds, 3),
        "sparsity": any(e.record.key.flags["sparsity"] for e in engines),
        "engines": rows,
    }


def _table(summary: dict[str, Any]) -> str:
    sparse = ", sparse kernels where they are faster" if summary["sparsity"] else ""
    lines = [
        f"{summary['bundle']}: engines of {summary['library']} {summary['version']}, CUDA {summary['cuda']}{sparse}"
    ]
    for row in summary["engines"]:
        origin = "from the cache" if row["cached"] else f"built in {row['seconds']:.1f} s"
        lines.append(
            f"  {row['stage']:<9} SM {row['sm']:<4} {row['precision']}  {row['bytes'] / 2**20:>8.1f} MiB  "
            f"{row['layers']:>6} layers  {origin}"
        )
        lines += [f"            removed {name}" for name in row["pruned"]]
    return "\n".join(lines)


def _expected_seconds(bundle: Bundle, stage: str) -> float:
    return 0.5 + SECONDS_PER_GRAPH_BYTE * bundle.manifest.files[bundle.stage(stage).graph].size


def _read_timing_cache(path: Path | None, target: Target) -> Any:
    from vpp_edge.runtime.policy.engines.tensorrt.builder import TimingCache

    if path is None:
        return None
    if target.library.builds_for_others:
        print("note: --timingCacheFile is not used: tensorrt-rtx times no kernels while it builds", file=sys.stderr)
        return None
    try:
        return TimingCache(path.read_bytes() if path.exists() else b"")
    except OSError as error:
        raise BadInputError(f"--timingCacheFile {path}: {error.strerror}") from error


def _export_layers(bundle: Bundle, engines: list[BuiltEngine], target: Target, file: Path) -> None:
    from vpp_edge.runtime.policy.engines.tensorrt.cache import EngineCache
    from vpp_edge.runtime.policy.engines.tensorrt.engine import layers_of_engine

    trt = target.library.load()
    for engine in engines:
        stage = engine.record.key.stage
        plan = EngineCache(bundle.path).open_verified(engine.record)
        write_whole(_layer_files(file, [stage])[0], layers_of_engine(trt, plan, stage))


def _layer_files(file: Path | None, stages: list[str]) -> list[Path]:
    """Where --exportLayerInfo FILE puts the layers of each stage."""
    return [] if file is None else [file.with_name(f"{file.stem}-{s}{file.suffix or '.json'}") for s in stages]
