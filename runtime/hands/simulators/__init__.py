"""Devices that are not here: programs at the other end of a bus, for tests, fault injection and dry practice."""
