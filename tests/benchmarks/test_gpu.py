"""The GPU benchmark on a machine without a GPU: its output, and the table of a given record."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project import ROOT

from vpp_edge.errors import BadInputError
from vpp_edge.export.torch_cuda.backend import usable_gpu

MARKS = "<!-- table of benchmarks/gpu.py -->\n{}\n<!-- end of the table of benchmarks/gpu.py -->\nafter\n"


def has_gpu() -> bool:
    try:
        usable_gpu()
    except BadInputError:
        return False
    return True


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu

    return gpu


@pytest.mark.skipif(has_gpu(), reason="there is a GPU, so the benchmark would run")
def test_without_a_gpu_nothing_is_measured_and_the_table_shows_the_records(gpu: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(MARKS.format("before"), encoding="utf-8")
    benchmark = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gpu.py", "--write", page], capture_output=True, text=True, check=True
    )
    reason, *printed = benchmark.stdout.splitlines()
    assert reason.startswith("Nothing measured: backend torch-cuda needs an NVIDIA GPU")
    records = list((ROOT / "benchmarks" / "results").glob("*.json"))
    if not records:
        assert printed == [gpu.NOTHING]
    assert page.read_text(encoding="utf-8") == MARKS.format("\n" + "\n".join(printed) + "\n")


def test_a_page_without_the_marks_is_not_changed(gpu: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(SystemExit, match="has no lines"):
        gpu.put_table(page, "gpu.py", "table")
    assert page.read_text(encoding="utf-8") == "no marks"


def test_the_table_marks_kernels_below_the_goal_and_gives_ratios_to_ours(gpu: Any) -> None:
    def row(case: str, calls: int, p50_us: float) -> dict[str, Any]:
        return {
            "kernel": "geglu",
            "case": case,
            "precision": "fp16",
            "calls": calls,
            "p50_us": p50_us,
            "eager_p50_us": 60.0,
            "floor_us": 10.0,
        }

    def stages(total_ms: float) -> dict[str, Any]:
        latency = {"p50_ms": total_ms / 2, "p99_ms": total_ms}
        total = {"p50_ms": total_ms, "p99_ms": total_ms}
        return {"perceive": latency, "act": latency, "total": total, "errors": {"tokens": 1e-3}}

    record = {
        "device": "a GPU",
        "date": "a day",
        "versions": {"torch": "2"},
        "ceilings": {"bytes_per_s": 4e12, "operations_per_s": 7e14},
        "kernels": [row("large", 1, 30.0) | {"compile_p50_us": 45.0}, row("small", 3, 10.0)],
        "policy": {gpu.EAGER: stages(90.0), gpu.OURS: stages(20.0)},
    }
    text = gpu.table([record])
    assert "4000 GB/s" in text and "700 TFLOP/s" in text
    assert "| `geglu` | 4 | 0.06 | 4.0x | 1.5x | 67% (below the goal of 70 %) |" in text
    assert "| torch-cuda | 10.00 (20.00) | 10.00 (20.00) | 20.00 | 4.50x | tokens 1.0e-03 |" in text
