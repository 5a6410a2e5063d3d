"""Shared memory between the processes of a run: newest-wins slots, ordered rings and boards of counters.

One process writes a slot, ring or board; any number may read a slot or a board, one reads a ring. No process ever waits
for another: a writer that is killed in the middle of a message leaves the last complete one readable.
"""
