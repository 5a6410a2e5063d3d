"""Speed of our kernels on this machine's GPU, as a record in results/ and a table in the README.

    python benchmarks/gpu.py --write README.md
    python benchmarks/gpu.py --rehearse            (all steps except torch.compile on the CPU at small sizes)

Results are checked first, and no time is printed for wrong ones. Without a GPU nothing is measured, and the table shows
the records in results/. Needs PyTorch with CUDA, the extras `export` and `kernels`, and 6.4 GB of disk for an untrained
checkpoint, which is in host memory twice while the contenders are built.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from documents import put_table
from gpu_kernels import measured_kernels
from gpu_policy import COMPILED, EAGER, OURS, measured_policy
from gpu_timing import Bench

from vpp_edge.checkpoint.untrained import RELEASED_XHAND, UntrainedSizes, write_untrained_checkpoint
from vpp_edge.errors import BadInputError
from vpp_edge.export.torch_cuda.backend import usable_gpu
from vpp_edge.export.torch_cuda.operations import Operations, kernel_operations, reference_operations
from vpp_edge.files.writing import write_whole
from vpp_edge.kernels.catalogue import OPERATIONS

RESULTS = Path(__file__).parent / "results"
NOTHING = "Not measured: no GPU was at hand."
GOAL_OF_ROOFLINE = 0.7
REHEARSED = UntrainedSizes(frames=2, steps=2, depth=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help="write the table into this document")
    parser.add_argument(
        "--rehearse", action="store_true", help="run everything on the CPU at small sizes and save nothing"
    )
    parser.add_argument("--only", choices=("kernels", "policy"), help="run only this part")
    parser.add_argument(
        "--checkpoint", type=Path, help="a trained policy (default: an untrained one of the released sizes)"
    )
    parser.add_argument(
        "--rounds", type=int, default=50, metavar="N", help="measured inferences per contender (default: 50)"
    )
    parser.add_argument("--no-compile", action="store_true", help="do not measure the policy with torch.compile")
    arguments = parser.parse_args()
    if arguments.rehearse:
        print(table([record(Bench(torch.device("cpu")), arguments)]))
        return
    try:
        bench = Bench(usable_gpu())
    except BadInputError as error:
        print(f"Nothing measured: {error}")
    else:
        save(record(bench, arguments))
    text = table([json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))])
    print(text)
    if arguments.write is not None:
        put_table(arguments.write, "gpu.py", text)


def record(bench: Bench, arguments: argparse.Namespace) -> dict[str, Any]:
    """All measurements, with device, versions and date."""
    rehearsed = bench.device.type != "cuda"
    operations = rehearsal_operations() if rehearsed else kernel_operations()
    measured: dict[str, Any] = {"date": str(date.today()), "ceilings": bench.ceilings(), **identity(bench)}
    if arguments.only != "policy":
        measured["kernels"] = []
        for row in measured_kernels(bench, operations, measured["ceilings"]):
            measured["kernels"].append(row)
            print(
                f"{row['kernel']:<20} {row['case']:<26} {row['p50_us']:9.1f} us, eager {row['eager_p50_us']:9.1f} us, "
                f"floor {row['floor_us']:8.1f} us",
                flush=True,
            )
    if arguments.only != "kernels":
        with checkpoint(arguments.checkpoint, REHEARSED if rehearsed else RELEASED_XHAND) as folder:
            with_compile = not (arguments.no_compile or rehearsed)
            measured["policy"] = measured_policy(
                bench, folder, operations, rounds=arguments.rounds, with_compile=with_compile
            )
    return measured


def rehearsal_operations() -> Operations:
    """The references in float32 with results rounded once, like those of the kernels."""

    def rounded(reference: Callable[..., Any]) -> Callable[..., Any]:
        def call(**inputs: Any) -> Any:
            result = reference(**{n: x.float() if isinstance(x, torch.Tensor) else x for n, x in inputs.items()})
            if isinstance(result, tuple):
                return tuple(x.half() if x.is_floating_point() else x for x in result)
            return result.half() if result.is_floating_point() else result

        return call

    return {name: rounded(reference) for name, reference in reference_operations().items()}


def identity(bench: Bench) -> dict[str, Any]:
    """Device and versions; for a GPU also driver, clocks and power limit."""
    versions = {name: version(name) for name in ("vpp-edge", "torch", "triton")}
    if bench.device.type != "cuda":
        return {"device": "CPU (a rehearsal)", "versions": versions}
    query = "driver_version,clocks.sm,clocks.mem,power.limit"
    smi = subprocess.run(
        ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader", "--id=0"],
        capture_output=True,
        text=True,
        check=False,
    )
    versions |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    return {"device": torch.cuda.get_device_name(bench.device), "versions": versions, query: smi.stdout.strip()}


@contextmanager
def checkpoint(existing: Path | None, sizes: UntrainedSizes) -> Iterator[Path]:
    """The folder of an existing checkpoint, or of a temporary untrained one."""
    if existing is not None:
        yield existing
        return
    folder = Path(tempfile.mkdtemp(prefix="vpp-edge-"))
    try:
        write_untrained_checkpoint(folder, sizes)
        yield folder
    finally:
        shutil.rmtree(folder)


def save(measured: dict[str, Any]) -> None:
    """Write a record, updating that of the same device: a part that was not measured now keeps its old values."""
    path = RESULTS / f"{'-'.join(measured['device'].lower().split())}.json"
    previous = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_whole(path, json.dumps(previous | measured, indent=1) + "\n")


def table(records: Sequence[dict[str, Any]]) -> str:
    """Markdown of all records."""
    return "\n\n".join("\n".join(_lines(measured)) for measured in records) or NOTHING


def _lines(measured: dict[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {number}" for name, number in measured["versions"].items())
    ceilings = measured["ceilings"]
    rates = f"{ceilings['bytes_per_s'] / 1e9:.0f} GB/s, an fp16 matmul at {ceilings['operations_per_s'] / 1e12:.0f}"
    yield f"{measured['device']}, {measured['date']}, {versions}."
    yield f"Measured ceilings: a copy at {rates} TFLOP/s."
    yield ""
    if "kernels" in measured:
        yield from _kernel_lines(measured["kernels"])
        yield ""
    if "policy" in measured:
        yield from _policy_lines(measured["policy"])


def _kernel_lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| kernel | calls per inference | total ms | vs. eager | vs. torch.compile | of its roofline |"
    yield "|---|---|---|---|---|---|"
    for name in OPERATIONS:
        cases = [r for r in rows if r["kernel"] == name and r["precision"] == "fp16"]
        if not cases:
            continue
        weights = [max(r["calls"], 1) for r in cases]

        def total(field: str, cases: Any = cases, weights: Any = weights) -> float:
            return sum(w * r[field] for w, r in zip(weights, cases, strict=True))

        compiled = [r["compile_p50_us"] / r["p50_us"] for r in cases if "compile_p50_us" in r]
        share = total("floor_us") / total("p50_us")
        yield (
            f"| `{name}` | {sum(r['calls'] for r in cases)} | {total('p50_us') / 1e3:.2f} | "
            f"{total('eager_p50_us') / total('p50_us'):.1f}x | {f'{compiled[0]:.1f}x' if compiled else '-'} | "
            f"{share:.0%}{'' if share >= GOAL_OF_ROOFLINE else ' (below the goal of 70 %)'} |"
        )
    yield ""
    yield "One call at a time, cold L2 cache. x: their time divided by ours; torch.compile for the heaviest case only."
    yield "Eager attention is permute + SDPA."


def _policy_lines(policy: dict[str, Any]) -> Iterator[str]:
    yield "| policy | perceive p50 (p99) ms | act p50 (p99) ms | total p50 ms | vs. eager | error |"
    yield "|---|---|---|---|---|---|"
    for name in (EAGER, COMPILED, OURS):
        if name in policy:
            row = policy[name]
            stages = " | ".join(f"{row[s]['p50_ms']:.2f} ({row[s]['p99_ms']:.2f})" for s in ("perceive", "act"))
            ratio = policy[EAGER]["total"]["p50_ms"] / row["total"]["p50_ms"]
            errors = ", ".join(f"{result} {error:.1e}" for result, error in row["errors"].items())
            yield f"| {name} | {stages} | {row['total']['p50_ms']:.2f} | {ratio:.2f}x | {errors} |"


if __name__ == "__main__":
    main()
