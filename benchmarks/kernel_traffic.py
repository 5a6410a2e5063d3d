"""Counts the memory traffic of every kernel's cases anew and writes the table that `vpp-edge kernels list` shows.

    python benchmarks/kernel_traffic.py

Needs PyTorch and no GPU. A test fails where the table is not current.
"""

from __future__ import annotations

from vpp_edge.files.writing import write_whole
from vpp_edge.kernels.catalogue import OPERATIONS, load_operation
from vpp_edge.kernels.listing import KEPT, text_of_rows
from vpp_edge.kernels.traffic import row_of_case


def main() -> None:
    operations = map(load_operation, OPERATIONS)
    rows = [row_of_case(operation, case) for operation in operations for case in operation.cases]
    write_whole(KEPT, text_of_rows(rows))
    print(f"{KEPT}: {len(rows)} cases of {len(OPERATIONS)} kernels")


if __name__ == "__main__":
    main()
