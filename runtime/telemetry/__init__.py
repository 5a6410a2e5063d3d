"""What a run records and publishes while it goes: recorder, MCAP log, live view, Prometheus endpoint."""
