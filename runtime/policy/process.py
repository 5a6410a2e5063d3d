"""The policy process: loads the policy, then works without a pause until told to stop."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial

from vpp_edge.errors import HardwareFaultError
from vpp_edge.runtime.interfaces import Policy
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.child_body import child_body
from vpp_edge.runtime.ipc.codecs import write_note
from vpp_edge.runtime.ipc.loop_state import Phase
from vpp_edge.runtime.policy.settings import PolicySettings
from vpp_edge.runtime.policy.worker import PolicyWorker
from vpp_edge.spec.instruction import truncation_told_to


def load_policy(bundle: str, backend: str, provider: str | None, threads: int) -> Policy:
    """Loads a policy. Imports the engine library: never call it in the control process."""
    if backend == "scripted":
        from vpp_edge.runtime.policy.scripted import ScriptedPolicy, options_from_text

        return ScriptedPolicy(options_from_text(bundle))
    from vpp_edge.runtime.policy.edge_policy import EdgePolicy

    return EdgePolicy.load(bundle, backend=backend, provider=provider, threads=threads)


@contextlib.contextmanager
def opened_policy(settings: PolicySettings) -> Iterator[Policy]:
    """Loads the policy of the settings, and closes it in the end."""
    policy = load_policy(settings.bundle, settings.backend, settings.provider, settings.threads)
    try:
        if settings.wrap_policy is not None:
            policy = settings.wrap_policy(policy)
        yield policy
    except BaseException:
        with contextlib.suppress(HardwareFaultError):  # the first error says more
            policy.close()
        raise
    policy.close()


def run_policy(parent_pid: int, settings: PolicySettings, channels: Channels, generation: int) -> None:
    """Body of the policy process: loads the policy, then infers without a pause until told to stop."""
    with child_body(parent_pid, channels.policy, channels.policy_note):
        with contextlib.suppress(OSError):
            os.nice(5)  # where cores are short, control and cameras come first
        told = truncation_told_to(partial(write_note, channels.instruction_note))
        with opened_policy(settings) as policy, told:
            _work(PolicyWorker(policy, settings, channels, generation), channels)


def _work(worker: PolicyWorker, channels: Channels) -> None:
    with contextlib.closing(worker):
        worker.follow_instruction()
        channels.policy["phase"] = Phase.RUNNING
        while not channels.orders["stopping"]:
            worker.step()
