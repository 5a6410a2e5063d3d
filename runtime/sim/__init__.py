"""A simulated dexterous hand over four buttons: its model, physics, pictures, and episodes of the task."""
