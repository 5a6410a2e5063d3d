"""A simulated dexterous hand above four buttons: model, physics, images, and episodes of the task."""
