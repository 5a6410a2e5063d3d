"""The trained policies that ship with this package, by the name that users write instead of a folder.

Imports no numpy, so that commands can list them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import vpp_edge

DEMO = "demo"


@dataclass(frozen=True)
class ShippedPolicy:
    """A trained policy of this package; the README.md in its folder says how it was trained and how well it performs.

    Attributes:
        folder: its checkpoint.
        worlds: of the simulation, that it was trained in.
    """

    folder: Path
    worlds: tuple[str, ...]


_HERE = Path(vpp_edge.__file__).parent
POLICIES = {
    DEMO: ShippedPolicy(folder=_HERE / "demo_policy", worlds=("buttons",)),
}


def checkpoint_folder(name_or_folder: Path) -> Path:
    """The checkpoint of a policy of this package by its name, or else the folder itself."""
    shipped = POLICIES.get(str(name_or_folder))
    return name_or_folder if shipped is None else shipped.folder
