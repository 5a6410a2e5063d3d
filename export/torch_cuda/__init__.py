"""Backend `torch-cuda`: the exact stages with our kernels in place, in FP16, as CUDA graphs."""
