"""What the shipped students cost beside their teachers, predicted: writes the tables of docs/distillation.md.

    OMP_NUM_THREADS=1 nice python benchmarks/students.py --write docs/distillation.md

Those for Jetsons are students of a policy of the released xhand sizes with two cameras, of which only the sizes are
needed: nothing is trained, and no weights are in memory. `demo` is a student of the package's demo policy.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from documents import put_table

from vpp_edge.checkpoint.paths import paths_from_folder
from vpp_edge.checkpoint.reader import Checkpoint, Choices, read_checkpoint
from vpp_edge.checkpoint.untrained import RELEASED_XHAND
from vpp_edge.checkpoint.without_weights import checkpoint_without_weights
from vpp_edge.demo.policies import DEMO, POLICIES
from vpp_edge.export.distill.student_spec import TINY, student_spec
from vpp_edge.workflow.student_plan import PolicyCost, cost_of_policy, student_without_weights

STUDENTS = {"full size": ("orin-agx", "orin-nx", "orin-nano"), "demo policy": ("demo",)}
DEVICES = ("orin-agx-64gb", "orin-agx-32gb", "orin-nx-16gb", "orin-nano-super")
PARTS = ("UNet", "VAE encoder", "Video Former", "action head")

SHIPPED = POLICIES[DEMO].folder


def teachers() -> dict[str, Checkpoint]:
    return {
        "full size": checkpoint_without_weights(RELEASED_XHAND),
        "demo policy": read_checkpoint(paths_from_folder(SHIPPED), Choices()),
    }


def sizes(policy: Checkpoint) -> list[str]:
    unet, vae = policy.unet.config, policy.vae.config
    encoder = (
        f"{TINY} {numbers(vae['encoder_block_out_channels'])} x {numbers(vae['num_encoder_blocks'])}"
        if "num_encoder_blocks" in vae
        else f"{numbers(vae['block_out_channels'])} x {vae['layers_per_block']}"
    )
    return [
        str(policy.spec.frames),
        f"{numbers(unet['block_out_channels'])} x {unet['layers_per_block']}",
        encoder,
        str(len(policy.spec.sigmas) - 1),
    ]


def numbers(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def work(cost: PolicyCost, teacher: PolicyCost) -> list[str]:
    counts = [(cost.operations[part], teacher.operations[part]) for part in PARTS] + [(cost.total, teacher.total)]
    return [f"{count / 1e9:.4g}" + ("" if cost is teacher else f" ({count / of:.1%})") for count, of in counts]


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [row(head), f"|{'---|' * len(head)}", *map(row, rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", type=Path, metavar="DOCUMENT", help="put the tables into this document")
    arguments = parser.parse_args()
    what, operations, latencies = [], [], []

    def add(name: str, policy: Checkpoint, cost: PolicyCost, teacher: PolicyCost) -> None:
        what.append([name, *sizes(policy)])
        operations.append([name, *work(cost, teacher)])
        found = [cost.predicted_ms[device] for device in DEVICES]
        latencies.append([name, *(f"{ms['int8']:.1f} / {ms['fp16']:.1f}" for ms in found)])
        print(row([*what[-1], *operations[-1][1:], *latencies[-1][1:]]), flush=True)

    for size, teacher in teachers().items():
        teacher_cost = cost_of_policy(teacher)
        add(f"teacher, {size}", teacher, teacher_cost, teacher_cost)
        for name in STUDENTS[size]:
            student = student_without_weights(teacher, student_spec(name))
            add(f"`{name}`", student, cost_of_policy(student), teacher_cost)
    lines = [
        *table(["policy", "frames", "UNet: widths x layers", "image encoder: widths x layers", "head: steps"], what),
        "",
        *table(["GOP (share of the teacher's)", *PARTS, "all"], operations),
        "",
        *table(["predicted ms, INT8 / FP16", *DEVICES], latencies),
    ]
    print("", *lines, sep="\n")
    if arguments.write is not None:
        put_table(arguments.write, "students.py", "\n".join(lines))


if __name__ == "__main__":
    main()
