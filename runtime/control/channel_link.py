"""The control loop's link over the channels: chunks come in; states, ticks and verdicts go out."""

from __future__ import annotations

import numpy as np

from vpp_edge.runtime.interfaces import Chunk, HandState
from vpp_edge.runtime.ipc.channels import Channels
from vpp_edge.runtime.ipc.codecs import chunk_from_record, stage_names_from_record, write_state
from vpp_edge.runtime.ipc.counters import Verdict
from vpp_edge.runtime.ipc.liveness import Liveness
from vpp_edge.runtime.ipc.loop_state import LoopState
from vpp_edge.trace import Latency, latency_from_ns

KEPT_INFERENCES = 16384  # percentiles cover the last so many; half an hour at 8 Hz
AGES = ("observation to chunk", "hand to chunk")  # the second where acts repeat: from a pose newer than the images


class ChannelLink:
    """A ControlLink over the rings of a run. Allocates next to nothing per call.

    Args:
        recorded: whether a recorder drains its rings of ticks and verdicts; `logged`: the same for telemetry.
    """

    def __init__(self, channels: Channels, recorded: bool, logged: bool = False) -> None:
        self._channels = channels
        self._tick_rings = [ring for ring, read in ((channels.ticks, recorded), (channels.log_ticks, logged)) if read]
        self._verdict_rings = [
            ring for ring, read in ((channels.verdicts, recorded), (channels.log_verdicts, logged)) if read
        ]
        self._arrival = np.zeros(1, channels.chunks.dtype)
        self.arrivals = 0
        self.first_arrival_ns = self.last_arrival_ns = 0
        stages = channels.chunks.dtype["stages_ns"].shape[0]
        self._stages_ns = np.zeros((KEPT_INFERENCES, stages), np.int64)
        self._ages_ns = np.zeros((KEPT_INFERENCES, len(AGES)), np.int64)
        for kept in (self._stages_ns, self._ages_ns):
            kept.fill(0)  # touches the pages now rather than in the loop
        self._names: tuple[str, ...] = ()
        self._liveness = Liveness(channels.policy)

    def take_chunk(self) -> Chunk | None:
        """The next chunk; its arrays are valid until the next call."""
        if not self._channels.chunks.take_into(self._arrival):
            return None
        return chunk_from_record(self._arrival[0])

    def chunks_lost(self) -> int:
        return self._channels.chunks.lost

    def policy_lost(self) -> bool:
        return self._liveness.lost()

    def publish(self, state: HandState, command: np.ndarray, loop_state: LoopState) -> None:
        write_state(self._channels.states, state, command, loop_state)

    def log_tick(self, slot_ns: int, late_ns: int, state: HandState, command: np.ndarray, holding: bool) -> None:
        for ring in self._tick_rings:
            if (record := ring.begin()) is not None:
                record["slot_ns"], record["late_ns"], record["stamp_ns"] = slot_ns, late_ns, state.stamp_ns
                record["state"], record["command"], record["holding"] = state.vector, command, holding
                ring.commit()

    def log_chunk(self, chunk: Chunk, now_ns: int, verdict: Verdict, dropped: int) -> None:
        arrival, place = self._arrival[0], self.arrivals % KEPT_INFERENCES
        if not self._names:
            self._names = stage_names_from_record(arrival)
        self._stages_ns[place] = arrival["stages_ns"]
        self._ages_ns[place] = now_ns - chunk.seen_ns, now_ns - chunk.observed_ns
        self.first_arrival_ns = self.first_arrival_ns or now_ns
        self.last_arrival_ns = now_ns
        self.arrivals += 1
        for ring in self._verdict_rings:
            if (record := ring.begin()) is not None:
                record["chunk"], record["arrived_ns"] = arrival, now_ns
                record["verdict"], record["dropped"] = verdict.value, dropped
                ring.commit()

    def close(self) -> None:
        """Releases what it holds outside the rings."""
        self._liveness.close()

    @property
    def rate_hz(self) -> float:
        """Chunks per second between the first and the last."""
        return 1e9 * max(0, self.arrivals - 1) / max(1, self.last_arrival_ns - self.first_arrival_ns)

    def latencies(self) -> dict[str, Latency]:
        """Percentiles per stage of inference, and of the age of images and pose when their chunk arrived."""
        kept = min(self.arrivals, KEPT_INFERENCES)
        if not kept:
            return {}
        stages_ns, ages_ns = self._stages_ns[:kept], self._ages_ns[:kept]
        ran = {name: column[column > 0] for name, column in zip(self._names, stages_ns.T, strict=False)}
        stages = {name: latency_from_ns(column) for name, column in ran.items() if len(column)}
        different = (ages_ns[:, 0] != ages_ns[:, 1]).any()
        ages = AGES if different else AGES[:1]
        return {**stages, **{name: latency_from_ns(ages_ns[:, i]) for i, name in enumerate(ages)}}
