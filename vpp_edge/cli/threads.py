"""How this process's idle threads behave: set before an OpenMP library is loaded."""

from __future__ import annotations

import os


def let_idle_threads_sleep() -> None:
    """Makes OpenMP threads that wait for each other sleep instead of spin. Call it before torch is imported.

    PyTorch's threads spin by default, so next to any other busy process they take each other's cores and everything
    gets several times slower. Not for measurements: on an idle machine spinning is a little faster. A value set by the
    user is kept.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
