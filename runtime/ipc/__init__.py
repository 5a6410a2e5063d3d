"""What the processes of a run share: channels, the loop's state, instructions; how a child process lives and dies."""
