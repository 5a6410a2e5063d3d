"""What a run tells while it goes on: its whole story as an MCAP file, and live in a viewer."""
