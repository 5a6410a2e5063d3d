"""How often policies succeed in the simulated worlds; writes the table of docs/closed-loop.md.

    nice python benchmarks/closed_loop.py --seeds 0 1 --write docs/closed-loop.md
    nice python benchmarks/closed_loop.py --world buttons turntable either --policy demo student=my_student/ \\
        --calibration my_recordings/ --only "rtc, 0 ms" "naive, 0 ms"
    nice python benchmarks/closed_loop.py "untrained video model=bundle/" --only expert random "untrained video model"

Rows are stored next to the bundles, so an interrupted run resumes where it stopped. A row is played again when its
bundle, seeds or number of episodes change.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from documents import put_table
from policies import SHIPPED, Policy, Variant

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.success_rate import SuccessRate
from vpp_edge.demo.bundle import DemoOptions
from vpp_edge.demo.policies import DEMO
from vpp_edge.files.writing import write_whole
from vpp_edge.progress import Progress
from vpp_edge.runtime.policy.handover_modes import MODES, NAIVE, RTC
from vpp_edge.runtime.sim.worlds.kinds import BUTTONS, NAMES, kind_from_name
from vpp_edge.wording import counted
from vpp_edge.workflow.closed_loop.bounds import CHASER, EXPERT, RANDOM, SCRIPTED
from vpp_edge.workflow.closed_loop.evaluation import EvalSettings, evaluate, progress_stages
from vpp_edge.workflow.closed_loop.players import PlayerChoice
from vpp_edge.workflow.closed_loop.summary import summary_of

KEPT = "closed-loop-rows.json"
DELAYS_MS = (0, 100, 200, 300)
SCRIPTS = {
    EXPERT: "expert (a script that knows where the buttons are)",
    CHASER: "chaser (the expert without prediction)",
    RANDOM: "random motion",
}
COLUMNS = ("success (95 % interval)", "wrong button", "out of time", "stopped by the loop", "time to press, s",
           "wrist jerk, m/s^3", "seam jump: wrist, mm", "joints, rad")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One line of the table: who plays in which world, with what delay, and how one chunk follows another.

    Attributes:
        player: one of SCRIPTED, a bundle folder, or a variant of a policy.
        chunking: one of `handover_modes.MODES`.
        replan_ms: from one observation to the next; acts_per_look, act_delay_ms: as in `lockstep.Pace`.
    """

    name: str
    player: str | Variant
    delay_ms: int = 0
    chunking: str = NAIVE
    replan_ms: int = 200
    acts_per_look: int = 1
    act_delay_ms: int = 0
    world: str = BUTTONS.name

    @property
    def label(self) -> str:
        """What tells it from other rows, and what --only is compared with."""
        how = ""
        if isinstance(self.player, Variant):
            options = self.player.options
            sampler = "" if options.steps is None else f", {counted(options.steps, 'step')} of {options.solver}"
            how = f", {options.precision}{sampler}"
        return f"{self.world}, {self.name}{how}, {self.chunking}, {self.delay_ms} ms late"

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
            world=self.world,
        )


def rows(world: str, bundles: Sequence[tuple[str, str]], policies: Sequence[Policy]) -> Iterator[Row]:
    """All of one world."""
    for script, name in SCRIPTS.items():
        if script != CHASER or kind_from_name(world).turns:
            yield Row(name, script, world=world)
    for name, folder in bundles:
        yield Row(name, folder, world=world)
    for policy in policies:
        yield from _rows_of_policy(world, policy)


def _rows_of_policy(world: str, policy: Policy) -> Iterator[Row]:
    """Precisions and samplers without delay, then all delays in the first precision."""
    first, *_ = precisions = policy.precisions()
    for precision in precisions:
        for chunking in (RTC, NAIVE):
            yield Row(policy.name, Variant(policy, DemoOptions(precision)), chunking=chunking, world=world)
    for solver, steps in policy.samplers():
        yield Row(policy.name, Variant(policy, DemoOptions(steps=steps, solver=solver)), world=world)
    for chunking in MODES:
        for delay_ms in DELAYS_MS:
            if delay_ms or chunking not in (RTC, NAIVE):
                yield Row(policy.name, Variant(policy, DemoOptions(first)), delay_ms, chunking, world=world)


class Table:
    """Plays rows and stores their results in a folder."""

    def __init__(self, folder: Path, seeds: Sequence[int], episodes: int, fresh: bool) -> None:
        self._folder, self._seeds, self._episodes = folder, seeds, episodes
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / KEPT
        self._kept: dict[str, Any] = json.loads(self._path.read_text()) if self._path.is_file() and not fresh else {}

    def played(self, row: Row) -> dict[str, Any]:
        """Summary over all seeds, and the number of successes of each."""
        choice = PlayerChoice(self.player(row))
        way = "" if row.world == BUTTONS.name else f"in {row.world}, "
        way += "" if row.chunking == NAIVE else f"{row.chunking} "
        if row.replan_ms != Row.replan_ms or row.acts_per_look > 1:
            way += f"every {row.replan_ms} ms, {row.acts_per_look} acts of {row.act_delay_ms} ms, "
        key = f"{self._identity(choice)} {way}{row.delay_ms} ms, seeds {self._seeds}, {self._episodes} episodes"
        if key not in self._kept:
            self._kept[key] = self._play(row, choice)
            write_whole(self._path, json.dumps(self._kept, indent=1))
        return dict(self._kept[key])

    def player(self, row: Row) -> str:
        """One of SCRIPTED, or a bundle folder, which is exported where it is missing."""
        return str(row.player.bundle(self._folder)) if isinstance(row.player, Variant) else row.player

    def _identity(self, choice: PlayerChoice) -> str:
        return Bundle(Path(choice.policy)).manifest_sha256 if choice.is_bundle else choice.policy

    def _play(self, row: Row, choice: PlayerChoice) -> dict[str, Any]:
        everything, successes = [], []
        for seed in self._seeds:
            settings = row.settings(self._episodes, seed)
            with Progress(f"{row.label}, seed {seed}", progress_stages(choice, settings)) as progress:
                results = evaluate(choice, settings, report=progress)
            everything += results
            successes.append(summary_of(results).rate.successes)
        return {**summary_of(everything).to_json(), "successes_by_seed": successes}


def header(seeds: Sequence[int], episodes: int) -> list[str]:
    by_seed = [f"seed {seed}" for seed in seeds] if len(seeds) > 1 else []
    columns = ["world", "policy", "precision", "steps", "chunking", "delay, ms", *by_seed, *COLUMNS]
    return [
        f"{episodes} episodes per seed ({', '.join(map(str, seeds))}), {datetime.now(timezone.utc):%Y-%m-%d}. "
        "Times are medians; jerk and jumps are means.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
    ]


def line(row: Row, player: str, found: dict[str, Any]) -> str:
    by_seed = found["successes_by_seed"]
    each = [f"{100 * n * len(by_seed) / found['episodes']:.1f} %" for n in by_seed] if len(by_seed) > 1 else []
    seam = found["seam"]
    cells = [
        row.world,
        row.name,
        *export_cells(player),
        row.chunking,
        str(row.delay_ms),
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


def export_cells(player: str) -> tuple[str, str]:
    """Precision, and steps of the sampler."""
    if player in SCRIPTED:
        return "-", "-"
    manifest = Bundle(Path(player)).manifest
    solver = "" if manifest.policy.sampler == "ddim" else f" of {manifest.policy.sampler}"
    return manifest.precision, f"{len(manifest.policy.sigmas) - 1}{solver}"


def number(value: float | None, factor: float, form: str) -> str:
    return "-" if value is None else format(factor * value, form)


def policies_from_texts(texts: Sequence[str], calibration: Path | None) -> list[Policy]:
    """Of names of the package's policies, FOLDER or NAME=FOLDER each. Raises SystemExit if two are the same."""
    found = []
    for text in texts:
        name, _, folder = text.rpartition("=")
        own = Policy(name or Path(folder).name, Path(folder), calibration)
        found.append(SHIPPED.get(text, own))
    names = [policy.name for policy in found]
    if len(set(names)) != len(names):
        raise SystemExit(f"--policy: {', '.join(names)} are not different names; give each its own with NAME=FOLDER")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "bundles", nargs="*", metavar="NAME=BUNDLE", help="more bundles for one row each, without variants"
    )
    parser.add_argument(
        "--policy",
        nargs="+",
        default=[DEMO],
        metavar="NAME=FOLDER",
        help=f"checkpoints or bundles to play in all variants, or of the package: {', '.join(SHIPPED)} ({DEMO})",
    )
    parser.add_argument("--calibration", type=Path, metavar="DATASET", help="recordings for the INT8 of other policies")
    parser.add_argument("--world", nargs="+", choices=NAMES, default=[BUTTONS.name], help="worlds to play in (buttons)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="seeds of `vpp-edge eval` (0 1)")
    parser.add_argument("--episodes", type=int, default=200, help="episodes per seed (200)")
    parser.add_argument(
        "--only",
        nargs="+",
        default=["*"],
        metavar="WORDS",
        help='only rows that contain one of these, such as "demo, int8" or "fp32, rtc"; * stands for anything',
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("demo-output"), help="folder for bundles and rows (demo-output)"
    )
    parser.add_argument("--fresh", action="store_true", help="play all rows again, e.g. after a change of the code")
    parser.add_argument("--list", action="store_true", help="only say which rows there are")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help="put the table into this document")
    arguments = parser.parse_args()
    bundles = [text.rpartition("=")[::2] for text in arguments.bundles]
    policies = policies_from_texts(arguments.policy, arguments.calibration)
    for policy in policies:
        if policy.precisions() == ("fp32", "fp16"):
            print(f"{policy.name}: no rows in INT8, which needs --calibration", file=sys.stderr)
    chosen = [
        row
        for world in arguments.world
        for row in rows(world, bundles, policies)
        if any(fnmatchcase(row.label, f"*{words}*") for words in arguments.only)
    ]
    if arguments.list:
        print("\n".join(row.label for row in chosen))
        return
    table = Table(arguments.output, arguments.seeds, arguments.episodes, arguments.fresh)
    lines = header(arguments.seeds, arguments.episodes)
    print("\n".join(lines), flush=True)
    for row in chosen:
        lines.append(line(row, table.player(row), table.played(row)))
        print(lines[-1], flush=True)
    if arguments.write is not None:
        put_table(arguments.write, "closed_loop.py", "\n".join(lines))


if __name__ == "__main__":
    main()
