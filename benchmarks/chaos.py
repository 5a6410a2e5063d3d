"""Injects every fault into runs of the demo policy and writes the fault table of docs/safety.md.

python benchmarks/chaos.py --write docs/safety.md
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

from documents import put_table

from vpp_edge.doctor.host import processor_name


def table_row(row: dict[str, Any]) -> str:
    measured = "-" if row["measured"] is None else f"{row['measured']:.0f} ms"
    status = row["status"] if row["status"] == "passed" else f"**{row['status']}**"
    return f"| {row['id']} | {row['fault']} | {row['reaction']} | {row['bound']} | {measured} | {status} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each fault; the worst counts (3)")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("demo-output"), help="folder for the bundle of the demo policy"
    )
    parser.add_argument("--write", type=Path, help="document whose table to replace")
    arguments = parser.parse_args()
    command = [str(Path(sys.executable).with_name("vpp-edge")), "chaos", "demo", "--json"]
    options = ["--repeat", str(arguments.repeat), "-o", str(arguments.output)]
    report = json.loads(subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True, check=False).stdout)
    lines = [table_row(row) for row in report["faults"]]
    caption = f"Worst of {arguments.repeat} runs each, on {processor_name()}, {date.today()}."
    head = "| # | fault | reaction | within | measured | |"
    text = "\n".join([caption, "", head, "|---|---|---|---|---|---|", *lines])
    print(text)
    if arguments.write is not None:
        put_table(arguments.write, "chaos.py", text)


if __name__ == "__main__":
    main()
