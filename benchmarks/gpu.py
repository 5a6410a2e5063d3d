"""What our kernels are worth on a GPU: in, the GPU of this machine; out, a record in results/, and the README's table.

    python benchmarks/gpu.py --write README.md
    python benchmarks/gpu.py --rehearse            (every step but torch.compile on the CPU, small: does it work?)

Correctness comes first, and nothing is printed of what is wrong. Without a GPU, nothing is measured; the table then
shows what is in results/. Needs a PyTorch with CUDA, the extras `export` and `kernels`, and 6.4 GB of disk for an
untrained checkpoint, which is in host memory twice while the contenders are made.
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
from vpp_edge.files import write_whole
from vpp_edge.kernels.catalogue import OPERATIONS

RESULTS = Path(__file__).parent / "results"
NOTHING = "Not measured: no GPU was at hand."
GOAL_OF_ROOFLINE = 0.7
REHEARSED = UntrainedSizes(frames=2, steps=2, depth=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help="put the table into this document")
    parser.add_argument(
        "--rehearse", action="store_true", help="run everything on the CPU at small sizes; keep nothing"
    )
    parser.add_argument("--only", choices=("kernels", "policy"), help="one of the two parts")
    parser.add_argument("--checkpoint", type=Path, help="a trained policy (an untrained one of the released sizes)")
    parser.add_argument("--rounds", type=int, default=50, metavar="N", help="counted inferences of each contender (50)")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out of the policy's contenders")
    arguments = parser.parse_args()
    if arguments.rehearse:
        print(table([record(Bench(torch.device("cpu")), arguments)]))
        return
    try:
        bench = Bench(usable_gpu())
    except BadInputError as error:
        print(f"Nothing measured: {error}")
    else:
        found = record(bench, arguments)
        keep(found)
    text = table([json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))])
    print(text)
    if arguments.write is not None:
        put_table(arguments.write, "gpu.py", text)


def record(bench: Bench, arguments: argparse.Namespace) -> dict[str, Any]:
    """All that is measured, with the device, versions and date."""
    rehearsed = bench.device.type != "cuda"
    operations = rehearsal_operations() if rehearsed else kernel_operations()
    found: dict[str, Any] = {"date": str(date.today()), "ceilings": bench.ceilings(), **identity(bench)}
    if arguments.only != "policy":
        found["kernels"] = []
        for row in measured_kernels(bench, operations, found["ceilings"]):
            found["kernels"].append(row)
            print(
                f"{row['kernel']:<20} {row['case']:<26} {row['p50_us']:9.1f} us, eager {row['eager_p50_us']:9.1f} us, "
                f"floor {row['floor_us']:8.1f} us",
                flush=True,
            )
    if arguments.only != "kernels":
        with checkpoint(arguments.checkpoint, REHEARSED if rehearsed else RELEASED_XHAND) as folder:
            compiles = not (arguments.no_compile or rehearsed)
            found["policy"] = measured_policy(bench, folder, operations, arguments.rounds, compiles)
    return found


def rehearsal_operations() -> Operations:
    """The references in float32 with results rounded once, which is what the kernels do."""

    def rounded(reference: Callable[..., Any]) -> Callable[..., Any]:
        def computed(**given: Any) -> Any:
            found = reference(**{n: x.float() if isinstance(x, torch.Tensor) else x for n, x in given.items()})
            if isinstance(found, tuple):
                return tuple(x.half() if x.is_floating_point() else x for x in found)
            return found.half() if found.is_floating_point() else found

        return computed

    return {name: rounded(reference) for name, reference in reference_operations().items()}


def identity(bench: Bench) -> dict[str, Any]:
    """What was measured on, with what."""
    versions = {name: version(name) for name in ("vpp-edge", "torch", "triton")}
    if bench.device.type != "cuda":
        return {"device": "CPU (a rehearsal)", "versions": versions}
    asked = "driver_version,clocks.sm,clocks.mem,power.limit"
    said = subprocess.run(
        ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader", "--id=0"],
        capture_output=True,
        text=True,
        check=False,
    )
    versions |= {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    return {"device": torch.cuda.get_device_name(bench.device), "versions": versions, asked: said.stdout.strip()}


@contextmanager
def checkpoint(given: Path | None, sizes: UntrainedSizes) -> Iterator[Path]:
    """The folder of a checkpoint: one that is there, or an untrained one for as long as it is needed."""
    if given is not None:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="vpp-edge-"))
    try:
        write_untrained_checkpoint(folder, sizes)
        yield folder
    finally:
        shutil.rmtree(folder)


def keep(found: dict[str, Any]) -> None:
    """Writes a record, over the one of the same device; a part that was not measured now stays what it was."""
    path = RESULTS / f"{'-'.join(found['device'].lower().split())}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_whole(path, json.dumps(before | found, indent=1) + "\n")


def table(records: Sequence[dict[str, Any]]) -> str:
    """Markdown of all records."""
    return "\n\n".join("\n".join(_lines(found)) for found in records) or NOTHING


def _lines(found: dict[str, Any]) -> Iterator[str]:
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    ceilings = found["ceilings"]
    rates = f"{ceilings['bytes_per_s'] / 1e9:.0f} GB/s, an fp16 product at {ceilings['operations_per_s'] / 1e12:.0f}"
    yield f"{found['device']}, {found['date']}, {versions}."
    yield f"Measured ceilings: a copy at {rates} TFLOP/s."
    yield ""
    if "kernels" in found:
        yield from _kernel_lines(found["kernels"])
        yield ""
    if "policy" in found:
        yield from _policy_lines(found["policy"])


def _kernel_lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield "| kernel | calls of an inference | ms in all | against eager | torch.compile | of its roofline |"
    yield "|---|---|---|---|---|---|"
    for name in OPERATIONS:
        of_name = [r for r in rows if r["kernel"] == name and r["precision"] == "fp16"]
        if not of_name:
            continue
        weights = [max(r["calls"], 1) for r in of_name]

        def total(field: str, of_name: Any = of_name, weights: Any = weights) -> float:
            return sum(w * r[field] for w, r in zip(weights, of_name, strict=True))

        compiled = [r["compile_p50_us"] / r["p50_us"] for r in of_name if "compile_p50_us" in r]
        share = total("floor_us") / total("p50_us")
        yield (
            f"| `{name}` | {sum(r['calls'] for r in of_name)} | {total('p50_us') / 1e3:.2f} | "
            f"{total('eager_p50_us') / total('p50_us'):.1f}x | {f'{compiled[0]:.1f}x' if compiled else '-'} | "
            f"{share:.0%}{'' if share >= GOAL_OF_ROOFLINE else ' (below the goal of 70 %)'} |"
        )
    yield ""
    yield "One call at a time, with a cold L2 cache. x: the other's time by ours; torch.compile at the heaviest case."
    yield "Eager attention is permute + SDPA."


def _policy_lines(policy: dict[str, Any]) -> Iterator[str]:
    yield "| policy | perceive p50 (p99) ms | act p50 (p99) ms | total p50 ms | against eager | error |"
    yield "|---|---|---|---|---|---|"
    for name in (EAGER, COMPILED, OURS):
        if name in policy:
            found = policy[name]
            stages = " | ".join(f"{found[s]['p50_ms']:.2f} ({found[s]['p99_ms']:.2f})" for s in ("perceive", "act"))
            ratio = policy[EAGER]["total"]["p50_ms"] / found["total"]["p50_ms"]
            errors = ", ".join(f"{result} {error:.1e}" for result, error in found["errors"].items())
            yield f"| {name} | {stages} | {found['total']['p50_ms']:.2f} | {ratio:.2f}x | {errors} |"


if __name__ == "__main__":
    main()
