"""Operations of our kernels in exported graphs, as functions of the ONNX domain `vpp_edge`."""
