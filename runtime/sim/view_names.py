"""Names and sizes of the simulator's views. Imports nothing, so that configurations and commands can use it."""

POLICY_VIEWS = ("top", "side")
"""The cameras above and next to the buttons, in the order of a policy's views."""

VIEWS = (*POLICY_VIEWS, "wrist")

LIVE_SIZE = (320, 240)
"""Width and height of a simulated camera in a live run: what is rendered in time without a GPU."""

POLICY_IMAGE_SIDE = LIVE_SIZE[1]
"""Side of the square images that a policy is trained and evaluated on: the middle of a live image, pixel for pixel."""
