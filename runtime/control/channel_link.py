"""The control loop's link to the other processes: chunks in from shared memory; states, ticks, verdicts out."""

from __future__ import annotations

import numpy as np

from vpp_edge.runtime.control.chunk_player import Chunk
from vpp_edge.runtime.control.contract import Stand
from vpp_edge.runtime.interfaces import HandState
from vpp_edge.runtime.ipc.channels import STAND_FIELDS, Channels
from vpp_edge.runtime.ipc.liveness import Pulse
from vpp_edge.trace import Latency, latency_from_ns

KEPT_INFERENCES = 16384  # percentiles are over the last so many; half an hour at 8 Hz


class SharedLink:
    """A ControlLink over the rings of a run. Allocates next to nothing per call.

    Args:
        recorded: whether somebody drains the rings for ticks and verdicts; `logged`: those of the log.
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
        self._ages_ns = np.zeros(KEPT_INFERENCES, np.int64)
        for kept in (self._stages_ns, self._ages_ns):
            kept.fill(0)  # touches the pages now rather than in the loop
        self._names: tuple[str, ...] = ()
        self._pulse = Pulse(channels.policy)

    def take_chunk(self) -> Chunk | None:
        """The next chunk; its arrays are valid until the next call."""
        if not self._channels.chunks.take_into(self._arrival):
            return None
        record = self._arrival[0]
        return Chunk(
            record["targets"],
            record["anchor"],
            int(record["observed_ns"]),
            int(record["request"]),
            int(record["episode"]),
        )

    def policy_lost(self) -> bool:
        return self._pulse.lost()

    def publish(self, state: HandState, command: np.ndarray, stand: Stand) -> None:
        record = self._channels.states.begin()
        record["vector"], record["command"] = state.vector, command
        record["scene"] = state.scene
        for name in STAND_FIELDS:
            record[name] = getattr(stand, name)
        self._channels.states.commit(state.stamp_ns)

    def log_tick(self, slot_ns: int, late_ns: int, state: HandState, command: np.ndarray, holding: bool) -> None:
        for ring in self._tick_rings:
            if (record := ring.begin()) is not None:
                record["slot_ns"], record["late_ns"], record["stamp_ns"] = slot_ns, late_ns, state.stamp_ns
                record["state"], record["command"], record["holding"] = state.vector, command, holding
                ring.commit()

    def log_chunk(self, chunk: Chunk, now_ns: int, verdict: str, dropped: int) -> None:
        arrival, place = self._arrival[0], self.arrivals % KEPT_INFERENCES
        if not self._names:
            self._names = tuple(name.decode() for name in arrival["stage_names"] if name)
        self._stages_ns[place] = arrival["stages_ns"]
        self._ages_ns[place] = now_ns - chunk.observed_ns
        self.first_arrival_ns = self.first_arrival_ns or now_ns
        self.last_arrival_ns = now_ns
        self.arrivals += 1
        for ring in self._verdict_rings:
            if (record := ring.begin()) is not None:
                record["chunk"], record["arrived_ns"], record["verdict"], record["dropped"] = (
                    arrival,
                    now_ns,
                    verdict,
                    dropped,
                )
                ring.commit()

    def close(self) -> None:
        """Lets go of what it holds outside the rings."""
        self._pulse.close()

    @property
    def rate_hz(self) -> float:
        """Chunks per second between the first and the last."""
        return 1e9 * max(0, self.arrivals - 1) / max(1, self.last_arrival_ns - self.first_arrival_ns)

    def latencies(self) -> dict[str, Latency]:
        """Percentiles per stage of inference, and of the age of the observation when its chunk arrived."""
        kept = min(self.arrivals, KEPT_INFERENCES)
        if not kept:
            return {}
        stages = {name: latency_from_ns(self._stages_ns[:kept, i]) for i, name in enumerate(self._names)}
        return {**stages, "observation to chunk": latency_from_ns(self._ages_ns[:kept])}
