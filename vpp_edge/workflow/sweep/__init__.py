"""Make and measure many students of a policy, to choose one by its latency and its error."""
