"""Precision of exported graphs: FP16 and INT8, written into the ONNX files."""
