"""Measure the latency of stages of loaded policies in turns, so that drift affects all alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vpp_edge.runtime.policy.edge_policy import EdgePolicy
from vpp_edge.spec.instruction import truncation_ignored
from vpp_edge.trace import Latency, Trace

STAGES = ("text", "perceive", "act", "total")


@dataclass(frozen=True)
class Profile:
    """Latencies by backend, then by stage; `total` is perceive + act, one inference with a given instruction."""

    latencies: Mapping[str, Mapping[str, Latency]]

    def speedup(self, fast: str, slow: str) -> dict[str, float]:
        """Ratio of medians slow / fast, by stage."""
        return {s: self.latencies[slow][s].p50_ms / self.latencies[fast][s].p50_ms for s in STAGES}


def profile_policies(
    policies: Mapping[str, EdgePolicy],
    inferences: int,
    warmup: int,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> Profile:
    """Runs `inferences` inferences per policy, in turns (A B A B ...), after `warmup` uncounted ones.

    The inputs are random and the same for all policies; latency does not depend on them. All engines run synchronously
    on the CPU, so wall time around the call is the latency.
    """
    traces = {name: Trace() for name in policies}
    generator = np.random.default_rng(0)
    rounds = warmup + inferences
    for i in range(rounds):
        spec = next(iter(policies.values())).spec
        frames = generator.integers(0, 256, spec.frames_shape, dtype=np.uint8)
        state = None if spec.state is None else generator.uniform(-1, 1, spec.state.dims).astype(np.float32)
        for name, policy in policies.items():
            trace = Trace()
            with trace.measure("text"), truncation_ignored():
                policy.instruct("pick up the red block and put it into the bowl")
            out = policy.infer(frames, state)
            for stage, duration_ns in out.timings_ns.items():
                trace.add(stage, duration_ns)
            trace.add("total", sum(out.timings_ns.values()))
            if i >= warmup:
                for stage in STAGES:
                    traces[name].add(stage, trace.durations_ns[stage][0])
        report(i + 1, rounds)
    return Profile({name: trace.latencies() for name, trace in traces.items()})
