"""A whole run: its configuration, its child processes, their supervision and the report at the end."""
