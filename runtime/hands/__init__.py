"""Drivers of real hands (LEAP, Inspire RH56, XHAND1), and the registry of all kinds of hands."""
