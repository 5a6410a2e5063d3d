"""How often variants of the demo policy succeed; writes the table of docs/closed-loop.md.

    nice python benchmarks/closed_loop.py --seeds 0 1 --write docs/closed-loop.md
    nice python benchmarks/closed_loop.py --only expert random "untrained video model" "untrained video model=bundle/"

Rows are stored next to the bundles, so an interrupted run resumes where it stopped. A row is played again when its
bundle, seeds or number of episodes change.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from documents import put_table

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.success_rate import SuccessRate
from vpp_edge.demo.bundle import DemoOptions, demo_bundle
from vpp_edge.files.writing import write_whole
from vpp_edge.progress import Progress
from vpp_edge.runtime.policy.handover_modes import MODES, NAIVE
from vpp_edge.workflow.closed_loop.evaluation import EvalSettings, evaluate, progress_stages
from vpp_edge.workflow.closed_loop.players import EXPERT, RANDOM, PlayerChoice
from vpp_edge.workflow.closed_loop.summary import summary_of

KEPT = "closed-loop-rows.json"
DELAYS_MS = (0, 100, 200, 300)
STEPS = {"ddim": (4, 2, 1), "dpmpp_2m": (10, 4, 2)}  # trained: 10 of ddim; with one step, the solvers are identical


@dataclass(frozen=True)
class Row:
    """One line of the table: who plays, with what delay, and how one chunk follows another.

    Attributes:
        player: EXPERT, RANDOM, a bundle folder, or how the demo policy is exported.
        chunking: one of `handover_modes.MODES`; NAIVE where policies are compared with one another.
        replan_ms: from one observation to the next; acts_per_look, act_delay_ms: as in `lockstep.Pace`.
    """

    name: str
    player: str | DemoOptions
    delay_ms: int = 0
    chunking: str = NAIVE
    replan_ms: int = 200
    acts_per_look: int = 1
    act_delay_ms: int = 0

    def settings(self, episodes: int, seed: int) -> EvalSettings:
        """As `vpp-edge eval` has them."""
        return EvalSettings(
            episodes,
            seed,
            replan_ns=self.replan_ms * 1_000_000,
            delay_ns=self.delay_ms * 1_000_000,
            chunking=self.chunking,
            acts_per_look=self.acts_per_look,
            act_delay_ns=self.act_delay_ms * 1_000_000,
        )


def rows(extra: Sequence[tuple[str, str]]) -> Iterator[Row]:
    yield Row("expert (a script that knows where the buttons are)", EXPERT)
    yield Row("random motion", RANDOM)
    for name, folder in extra:
        yield Row(name, folder)
    for precision in ("fp32", "fp16", "int8"):
        yield Row(f"demo, {precision}", DemoOptions(precision))
    for solver, choices in STEPS.items():
        for steps in choices:
            count = "1 step" if steps == 1 else f"{steps} steps"
            yield Row(f"demo, fp32, {count} of {solver}", DemoOptions(steps=steps, solver=solver))
    for chunking in MODES:
        for delay_ms in DELAYS_MS:
            yield Row(f"demo, fp32, {chunking}, {delay_ms} ms late", DemoOptions(), delay_ms, chunking)


class Table:
    """Plays rows and stores their results in a folder."""

    def __init__(self, folder: Path, seeds: Sequence[int], episodes: int, fresh: bool) -> None:
        self._folder, self._seeds, self._episodes = folder, seeds, episodes
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / KEPT
        self._kept: dict[str, Any] = json.loads(self._path.read_text()) if self._path.is_file() and not fresh else {}

    def played(self, row: Row) -> dict[str, Any]:
        """Summary over all seeds, and the number of successes of each."""
        choice = PlayerChoice(self._policy(row))
        way = "" if row.chunking == NAIVE else f"{row.chunking} "
        if row.replan_ms != Row.replan_ms or row.acts_per_look > 1:
            way += f"every {row.replan_ms} ms, {row.acts_per_look} acts of {row.act_delay_ms} ms, "
        key = f"{self._identity(choice)} {way}{row.delay_ms} ms, seeds {self._seeds}, {self._episodes} episodes"
        if key not in self._kept:
            self._kept[key] = self._play(row, choice)
            write_whole(self._path, json.dumps(self._kept, indent=1))
        return dict(self._kept[key])

    def _policy(self, row: Row) -> str:
        if isinstance(row.player, DemoOptions):
            return str(demo_bundle(self._folder, row.player, fresh=False, quiet=False, say=lambda text: None))
        return row.player

    def _identity(self, choice: PlayerChoice) -> str:
        return Bundle(Path(choice.policy)).manifest_sha256 if choice.is_bundle else choice.policy

    def _play(self, row: Row, choice: PlayerChoice) -> dict[str, Any]:
        everything, successes = [], []
        for seed in self._seeds:
            settings = row.settings(self._episodes, seed)
            with Progress(f"{row.name}, seed {seed}", progress_stages(choice, settings)) as progress:
                results = evaluate(choice, settings, report=progress)
            everything += results
            successes.append(summary_of(results).rate.successes)
        return {**summary_of(everything).to_json(), "successes_by_seed": successes}


def header(seeds: Sequence[int], episodes: int) -> list[str]:
    by_seed = [f"seed {seed}" for seed in seeds] if len(seeds) > 1 else []
    columns = ["policy", *by_seed, "success (95 % interval)", "wrong button", "out of time",
               "stopped by the loop", "time to press, s", "wrist jerk, m/s^3", "seam jump: wrist, mm",
               "joints, rad"]  # fmt: skip
    played = f"{episodes} episodes per seed ({', '.join(map(str, seeds))})"
    return [
        f"{played}. Times are medians; jerk and jumps are means.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
    ]


def line(row: Row, found: dict[str, Any]) -> str:
    by_seed = found["successes_by_seed"]
    each = [f"{100 * n * len(by_seed) / found['episodes']:.1f} %" for n in by_seed] if len(by_seed) > 1 else []
    seam = found["seam"]
    cells = [
        row.name,
        *each,
        str(SuccessRate(found["successes"], found["episodes"])),
        str(found["wrong"]),
        str(found["timeouts"]),
        str(found["stopped"]),
        number(found["press_s"]["median"], 1, ".2f"),
        number(found["jerk"]["wrist_m_s3"]["mean"], 1, ".0f"),
        number(seam["wrist_m"]["mean"], 1000, ".1f"),
        number(seam["joints_rad"]["mean"], 1, ".3f"),
    ]
    return "| " + " | ".join(cells) + " |"


def number(value: float | None, factor: float, form: str) -> str:
    return "-" if value is None else format(factor * value, form)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "bundles", nargs="*", metavar="NAME=BUNDLE", help="more bundles to play, each with the name of its row"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="seeds of `vpp-edge eval` (0 1)")
    parser.add_argument("--episodes", type=int, default=200, help="episodes per seed (200)")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="only rows whose names start with one of these")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("demo-output"), help="folder for bundles and rows (demo-output)"
    )
    parser.add_argument("--fresh", action="store_true", help="play all rows again, e.g. after a change of the code")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help="put the table into this document")
    arguments = parser.parse_args()
    extra = [tuple(text.rpartition("=")[::2]) for text in arguments.bundles]
    table = Table(arguments.output, arguments.seeds, arguments.episodes, arguments.fresh)
    lines = header(arguments.seeds, arguments.episodes)
    print("\n".join(lines), flush=True)
    for row in rows(extra):
        if arguments.only is None or row.name.startswith(tuple(arguments.only)):
            lines.append(line(row, table.played(row)))
            print(lines[-1], flush=True)
    if arguments.write is not None:
        put_table(arguments.write, "closed_loop.py", "\n".join(lines))


if __name__ == "__main__":
    main()
