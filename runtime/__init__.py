"""The robot side: engines, policy, chunks, cameras, hands, control loop. Needs numpy and an engine, never torch."""
