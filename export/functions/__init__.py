"""Operations of our kernels in exported graphs: functions of the ONNX domain `vpp_edge`, in the graph and out of it."""
