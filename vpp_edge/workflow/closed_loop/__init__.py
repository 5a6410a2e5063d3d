"""Closed-loop evaluation: a policy plays episodes of the simulated task in simulated time."""
