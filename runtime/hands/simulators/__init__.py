"""Simulated devices at the other end of a bus, for tests, fault injection and practice without hardware."""
