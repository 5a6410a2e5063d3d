"""The policies that ship with this package, as `demo`, `eval` and `chaos` use them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from vpp_edge.files.outputs import check_output_folder

FOLDER = Path("demo-output")


def add_output_argument(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Adds -o/--output: the folder that keeps the exported bundles. `purpose` opens the help line."""
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, metavar="DIR", help=f"{purpose} ({FOLDER})")


def exported_demo(arguments: argparse.Namespace, fresh: bool = False, **options: Any) -> Path:
    """The bundle of a policy of this package: exported to --output unless an earlier command did, or its own.

    Args:
        fresh: export in any case.
        options: fields of DemoOptions.
    """
    from vpp_edge.demo.shipped import shipped_bundle

    def say(text: str) -> None:
        if not arguments.quiet:
            print(text, file=sys.stderr)

    if (shipped := shipped_bundle(options, fresh)) is not None:
        say(f"Using the bundle of this package, {shipped}.")
        return shipped
    from vpp_edge.demo.bundle import DemoOptions, demo_bundle

    check_output_folder(arguments.output, "-o")
    return demo_bundle(arguments.output, DemoOptions(**options), fresh=fresh, quiet=arguments.quiet, say=say)
