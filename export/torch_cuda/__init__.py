"""Backend `torch-cuda`: the exact stages on our kernels, in FP16, as CUDA graphs."""
