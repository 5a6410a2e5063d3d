"""The cost model: operations and bytes of a bundle's graphs, and what a device needs for them at least."""
