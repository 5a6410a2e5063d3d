"""Whether acting several times on one look pays, under the latencies of boards; writes a table of docs/closed-loop.md.

    nice python benchmarks/acts_per_look.py --write docs/closed-loop.md

The demo policy looks without a pause: the next observation is made when the tokens of the last one are ready. Rows are
kept as those of `closed_loop.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from closed_loop import Row, Table, number
from documents import put_table
from policies import Variant

from vpp_edge.bundle.success_rate import SuccessRate
from vpp_edge.runtime.policy.handover_modes import NAIVE, RTC

DELAYS_MS = {RTC: (126, 200, 300), NAIVE: (200,)}  # 126 ms: the full-size policy in INT8 on an AGX Orin, as predicted
ACT_DELAY_MS = 5  # predicted: 2.4 ms, then the hand-over
ACTS = (1, 2, 4)
COLUMNS = (
    "chunking",
    "look to chunk, ms",
    "acts per look",
    "success (95 % interval)",
    "out of time",
    "time to press, s",
    "wrist jerk, m/s^3",
    "seam jump: wrist, mm",
)


def rows() -> Iterator[Row]:
    for chunking, delays_ms in DELAYS_MS.items():
        for delay_ms in delays_ms:
            for acts in ACTS:
                name = f"{chunking}, {delay_ms} ms late, acts per look: {acts}"
                act_delay_ms = 0 if acts == 1 else ACT_DELAY_MS
                yield Row(name, Variant(), delay_ms, chunking, delay_ms, acts, act_delay_ms)


def line(row: Row, found: dict[str, Any]) -> str:
    cells = [
        row.chunking,
        str(row.delay_ms),
        str(row.acts_per_look),
        str(SuccessRate(found["successes"], found["episodes"])),
        str(found["timeouts"]),
        number(found["press_s"]["median"], 1, ".2f"),
        number(found["jerk"]["wrist_m_s3"]["mean"], 1, ".0f"),
        number(found["seam"]["wrist_m"]["mean"], 1000, ".1f"),
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of `vpp-edge eval` (0)")
    parser.add_argument("--episodes", type=int, default=20, help="episodes per seed (20)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("demo-output"), help="folder for the bundle and rows (demo-output)"
    )
    parser.add_argument("--fresh", action="store_true", help="play all rows again, e.g. after a change of the code")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help="put the table into this document")
    arguments = parser.parse_args()
    table = Table(arguments.output, arguments.seeds, arguments.episodes, arguments.fresh)
    lines = [
        f"The demo policy, fp32; {arguments.episodes} episodes per seed "
        f"({', '.join(map(str, arguments.seeds))}), {datetime.now(timezone.utc):%Y-%m-%d}. Times are medians; jerk and "
        "jumps are means.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
    ]
    print("\n".join(lines), flush=True)
    for row in rows():
        lines.append(line(row, table.played(row)))
        print(lines[-1], flush=True)
    if arguments.write is not None:
        put_table(arguments.write, "acts_per_look.py", "\n".join(lines))


if __name__ == "__main__":
    main()
