"""What ONNX Runtime's session options cost and gain on the CPU: in, a bundle; out, ratios against our settings.

Each option is measured in a process of its own, where a session with it and one without take turns, and the median of
their ratios is told; peaks of memory come from further processes that hold one session only. A ratio below 1 is faster
than our settings. The machine should have nothing else to do.

  python benchmarks/onnxruntime_options.py my_bundle/ --rounds 15
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CORES = len(os.sched_getaffinity(0))
STAGES = ("perceive", "act")


def _entry(key: str, value: str) -> Callable[[Any], None]:
    return lambda settings: settings.add_session_config_entry(key, value)


def _set(name: str, value: Any) -> Callable[[Any], None]:
    return lambda settings: setattr(settings, name, value)


def _both(*changes: Callable[[Any], None]) -> Callable[[Any], None]:
    def change(settings: Any) -> None:
        for each in changes:
            each(settings)

    return change


def options() -> dict[str, Callable[[Any], None]]:
    """Changes of our settings, by name; the first changes nothing and shows the noise."""
    from onnxruntime import ExecutionMode, GraphOptimizationLevel

    level = {"off": "ORT_DISABLE_ALL", "basic": "ORT_ENABLE_BASIC", "extended": "ORT_ENABLE_EXTENDED"}
    return {
        "nothing": lambda settings: None,
        **{
            f"graph optimization {name}": _set("graph_optimization_level", getattr(GraphOptimizationLevel, value))
            for name, value in level.items()
        },
        "parallel execution": _set("execution_mode", ExecutionMode.ORT_PARALLEL),
        "one thread": _set("intra_op_num_threads", 1),
        "a thread per core, stated": _set("intra_op_num_threads", CORES),
        "twice as many threads as cores": _set("intra_op_num_threads", 2 * CORES),
        "spinning": _entry("session.intra_op.allow_spinning", "1"),
        "spinning within a run": _both(
            _entry("session.intra_op.allow_spinning", "1"), _entry("session.force_spinning_stop", "1")
        ),
        "arena off": _set("enable_cpu_mem_arena", False),
        "memory pattern off": _set("enable_mem_pattern", False),
        "denormals as zero": _entry("session.set_denormal_as_zero", "1"),
        "prepacking off": _entry("session.disable_prepacking", "1"),
        "dynamic block base 4": _entry("session.dynamic_block_base", "4"),
        "approximate Gelu": _entry("optimization.enable_gelu_approximation", "1"),
    }


def feed_of(stage: Any) -> dict[str, np.ndarray]:
    """Random inputs: what is computed with them takes as long as with any other."""
    random = np.random.default_rng(0)
    return {
        t.name: random.integers(0, 256, t.shape, dtype=np.uint8)
        if t.dtype == "uint8"
        else random.standard_normal(t.shape).astype(t.dtype)
        for t in stage.inputs
    }


def engine_of(bundle: Path, stage: str, change: str, threads: int | None) -> Any:
    """An engine by the very way of the runtime, with one option changed."""
    from vpp_edge.bundle.engine import EngineOptions
    from vpp_edge.bundle.manifest import Bundle
    from vpp_edge.runtime.policy.engines.onnxruntime import open_session
    from vpp_edge.runtime.policy.engines.onnxruntime_settings import session_settings

    opened, engine_options = Bundle(bundle), EngineOptions(threads)
    record, settings = opened.stage(stage), session_settings(engine_options)
    options()[change](settings)
    graph = bytes(opened.open_verified(record.graph))
    weights = {} if record.weights is None else {Path(record.weights).name: opened.open_verified(record.weights)}
    return open_session(record, graph, weights, engine_options, settings)


def _ratio(bundle: Path, stage: str, change: str, threads: int | None, rounds: int, answers: Any) -> None:
    from vpp_edge.bundle.manifest import Bundle

    feed = feed_of(Bundle(bundle).stage(stage))
    engines = [engine_of(bundle, stage, name, threads) for name in ("nothing", change)]
    seconds: list[tuple[float, float]] = []
    for i in range(rounds + 2):
        took = [0.0, 0.0]
        for which in (0, 1) if i % 2 else (1, 0):
            started = time.perf_counter()
            engines[which].run(feed)
            took[which] = time.perf_counter() - started
        seconds.append((took[0], took[1]))
    counted = seconds[2:]
    answers.put((statistics.median(b / a for a, b in counted), statistics.median(a for a, _ in counted)))


def _memory(bundle: Path, stage: str, change: str, threads: int | None, answers: Any) -> None:
    from vpp_edge.bundle.manifest import Bundle

    feed, engine = feed_of(Bundle(bundle).stage(stage)), engine_of(bundle, stage, change, threads)
    for _ in range(2):
        engine.run(feed)
    answers.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def in_a_process(work: Callable[..., None], *arguments: Any) -> Any:
    """What `work` puts into its last argument, a queue."""
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    process = context.Process(target=work, args=(*arguments, answers))
    process.start()
    process.join()
    return None if answers.empty() else answers.get()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, help="of our settings (what ONNX Runtime chooses)")
    parser.add_argument("--only", nargs="+", help="names of options (all)")
    arguments = parser.parse_args()
    import onnxruntime

    chosen = arguments.only or list(options())
    print(f"ONNX Runtime {onnxruntime.__version__}, {platform.machine()}, {CORES} cores, {arguments.rounds} rounds")
    print(f"{'against our settings':<32}" + "".join(f"{s + ' time':>16}{s + ' MiB':>14}" for s in STAGES))
    for change in chosen:
        cells = [_cell(arguments, stage, change) for stage in STAGES]
        print(f"{change:<32}" + "".join(cells), flush=True)


def _cell(arguments: argparse.Namespace, stage: str, change: str) -> str:
    found = in_a_process(_ratio, arguments.bundle, stage, change, arguments.threads, arguments.rounds)
    peak = in_a_process(_memory, arguments.bundle, stage, change, arguments.threads)
    if found is None or peak is None:
        return f"{'failed':>30}"
    return f"{found[0]:>16.3f}{peak:>14.0f}"


if __name__ == "__main__":
    main()
