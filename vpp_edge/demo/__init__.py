"""The demo: bundles of the policy that ships with this package, its observations, the video of a run."""
