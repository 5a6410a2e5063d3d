"""From a policy in memory to a bundle on disk: stages, ONNX, parity, manifest."""
