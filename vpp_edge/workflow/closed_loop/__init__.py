"""The yardstick: episodes of the simulated task, played by a policy in simulated time, and what came of them."""
