"""Sums up how long the tests of each module take; writes the table of CONTRIBUTING.md.

make test-all                                                        # leaves the times in build/test-durations/
python benchmarks/test_durations.py --write CONTRIBUTING.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from xml.etree import ElementTree

from documents import put_table

from vpp_edge.doctor.host import processor_name
from vpp_edge.runtime.ipc.real_time import usable_cpus

TIMES = Path("build/test-durations")
PARTS = {"quick": "make test, sharing the cores", "quick-live": "make test, one at a time"}
PARTS |= {"slow": "make test-all, sharing the cores", "slow-live": "make test-all, one at a time"}
SHOWN = 24  # modules; the others are summed up


@dataclass(frozen=True)
class ModuleTime:
    """The tests of one module in one part: how many, and the seconds of setup, call and teardown."""

    part: str
    module: str
    tests: int
    seconds: float


def module_times(part: str, report: Path) -> Iterator[ModuleTime]:
    """One for each module in a JUnit report of pytest."""
    found: dict[str, ModuleTime] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        module = next(iter(case.attrib["classname"].split(".Test")))
        before = found.get(module, ModuleTime(part=part, module=module, tests=0, seconds=0.0))
        found[module] = replace(before, tests=before.tests + 1, seconds=before.seconds + float(case.attrib["time"]))
    return iter(found.values())


def lines_of(times: list[ModuleTime]) -> list[str]:
    """The table: the slowest modules, and what is left of each part."""
    slowest = sorted(times, key=lambda time: -time.seconds)[:SHOWN]
    lines = ["| module | tests | seconds | part |", "|---|---|---|---|"]
    for time in slowest:
        path = f"{time.module.replace('.', '/')}.py"
        lines.append(f"| `{path}` | {time.tests} | {time.seconds:.0f} | {PARTS[time.part]} |")
    for part, text in PARTS.items():
        others = [time for time in times if time.part == part and time not in slowest]
        tests, seconds = sum(time.tests for time in others), sum(time.seconds for time in others)
        if others:
            lines.append(f"| other modules: {len(others)} | {tests} | {seconds:.0f} | {text} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, help="document whose table is replaced")
    arguments = parser.parse_args()
    reports = {part: TIMES / f"{part}.xml" for part in PARTS}
    if missing := [str(path) for path in reports.values() if not path.is_file()]:
        raise SystemExit(f"no {', '.join(missing)}; run `make test-all` first")
    times = [time for part, path in reports.items() for time in module_times(part, path)]
    seconds = {part: float(ElementTree.parse(path).getroot()[0].attrib["time"]) for part, path in reports.items()}
    where = f"{len(usable_cpus())} cores of {processor_name()}, {date.today()}"
    quick = seconds["quick"] + seconds["quick-live"]
    rest = sum(seconds.values()) - quick
    head = f"`make test` took {quick:.0f} s, the rest of `make test-all` {rest:.0f} s ({where})."
    text = "\n".join([f"{head} Tests that share the cores are timed while others run.", "", *lines_of(times)])
    print(text)
    if arguments.write is not None:
        put_table(arguments.write, "test_durations.py", text)


if __name__ == "__main__":
    main()
