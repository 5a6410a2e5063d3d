"""Peak rates of devices from vendors' documents, and the measured share of them that kernels reach.

Peaks are dense. Vendors print INT8 (and for desktop and server cards FP16) with 2:4 sparsity, which is twice the dense
rate; where a figure below is half a printed one, its row says so. Weights that are 2:4 sparse have that doubled peak.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """Peak rates of one device at its highest clocks.

    Attributes:
        fp32_tops, fp16_tops, int8_tops: dense 10**12 operations per second of matrix products. FP32 is that of the
            CUDA cores: TF32 keeps 10 bits of the mantissa, which is not what an fp32 bundle was verified with. FP16
            accumulates in FP32, INT8 in INT32.
        bandwidth_gb_s: memory bandwidth, 10**9 bytes per second.
        source: the document of every figure, and what was derived from it.
    """

    name: str
    fp32_tops: float
    fp16_tops: float
    int8_tops: float
    bandwidth_gb_s: float
    source: str

    def tops(self, precision: str) -> float:
        """Dense peak of matrix products, 10**12 operations per second."""
        return {"fp32": self.fp32_tops, "fp16": self.fp16_tops, "int8": self.int8_tops}[precision]

    def sparse_tops(self, precision: str) -> float:
        """Peak where weights are 2:4 sparse: tensor cores of Ampere, Ada and Hopper skip half of the products."""
        return self.tops(precision) * (1 if precision == "fp32" else 2)

    @property
    def vector_tops(self) -> float:
        """Elementwise operations, 10**12 per second: the FP32 peak counts a multiply-add as two, this as one."""
        return self.fp32_tops / 2


# Every Orin GPU is an Ampere GPU whose SM does 1024 FP16 and 2048 INT8 multiply-accumulates per clock (derived from
# AGX Orin 64GB: 85 TOP/s / (16 SMs x 1.3 GHz x 2)); the FP16 rate is half of the dense INT8 rate on all of them.
_ORIN = (
    Device(
        name="orin-agx-64gb",
        fp32_tops=5.3,
        fp16_tops=42.5,
        int8_tops=85.0,
        bandwidth_gb_s=204.8,
        source=(
            "NVIDIA Jetson AGX Orin Series technical brief: 2048 CUDA cores, 64 tensor cores, 1.3 GHz, 170 sparse "
            "INT8 TOP/s of the GPU, 5.3 FP32 TFLOP/s, 204.8 GB/s. Derived: dense INT8 is half, FP16 a quarter of 170"
        ),
    ),
    Device(
        name="orin-agx-32gb",
        fp32_tops=3.37,
        fp16_tops=26.9,
        int8_tops=53.8,
        bandwidth_gb_s=204.8,
        source=(
            "NVIDIA Jetson AGX Orin Series data sheet: 1792 CUDA cores, 56 tensor cores, 939 MHz, 204.8 GB/s. "
            "Derived: rates per SM and clock of AGX Orin 64GB x 14 SMs x 939 MHz (the brief's 108 sparse INT8 TOP/s)"
        ),
    ),
    Device(
        name="orin-nx-16gb",
        fp32_tops=1.88,
        fp16_tops=15.0,
        int8_tops=30.1,
        bandwidth_gb_s=102.4,
        source=(
            "NVIDIA Jetson Orin NX Series data sheet: 1024 CUDA cores, 32 tensor cores, 918 MHz, 102.4 GB/s; without "
            "the Super mode of JetPack 6.2 (1173 MHz). Derived: rates per SM and clock of AGX Orin 64GB x 8 SMs x 918 "
            "MHz"
        ),
    ),
    Device(
        name="orin-nano-super",
        fp32_tops=2.09,
        fp16_tops=16.7,
        int8_tops=33.4,
        bandwidth_gb_s=102.4,
        source=(
            "NVIDIA Jetson Orin Nano Super Developer Kit data sheet: 1024 CUDA cores, 32 tensor cores, 1020 MHz, 67 "
            "sparse INT8 TOP/s, 102 GB/s. Derived: rates per SM and clock of AGX Orin 64GB x 8 SMs x 1020 MHz"
        ),
    ),
)

DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        *_ORIN,
        Device(
            name="rtx-4090",
            fp32_tops=82.6,
            fp16_tops=165.2,
            int8_tops=660.6,
            bandwidth_gb_s=1008.0,
            source=(
                "NVIDIA Ada GPU Architecture white paper, appendix A: dense FP16 with FP32 accumulation 165.2 (330.3 "
                "with FP16 accumulation), dense INT8 660.6, FP32 82.6, 1008 GB/s"
            ),
        ),
        Device(
            name="h100-sxm",
            fp32_tops=66.9,
            fp16_tops=989.4,
            int8_tops=1978.9,
            bandwidth_gb_s=3350.0,
            source=(
                "NVIDIA H100 Tensor Core GPU data sheet and Hopper white paper, SXM5: FP32 66.9, 3.35 TB/s. Derived: "
                "dense FP16 and INT8 are half of the printed 1,979 and 3,958"
            ),
        ),
    )
}


@dataclass(frozen=True)
class Efficiency:
    """The share of a peak that good kernels reach, and where that was measured."""

    share: float
    source: str


_FLASHRT = "FlashRT's Chameleon-7B on Jetson AGX Orin (github.com/flashrt-project/FlashRT)"
_APXINF = "ApxInf's roofline of Jetson AGX Orin at 1.3 GHz (github.com/infinigence/ApxInf/pull/74)"

# By class of kernel and precision, measured on AGX Orin; an assumption for other devices.
EFFICIENCIES: dict[tuple[str, str], Efficiency] = {
    ("gemm", "int8"): Efficiency(58.7 / 85.0, f"58.7 of 85 TOP/s over all INT8 products of a prompt, {_FLASHRT}"),
    ("gemm", "fp16"): Efficiency(33.4 / 42.5, f"33.4 of 42.5 TFLOP/s in BF16, {_APXINF}"),
    ("gemm", "fp32"): Efficiency(4.8 / 5.3, f"4.8 of 5.3 TFLOP/s, {_APXINF}"),
    ("conv", "int8"): Efficiency(
        60.7 / 85.0,
        "3x3, 128 to 128 channels, 10 x 72 x 120 pixels in 420 us = 60.7 of 85 TOP/s with CUTLASS on AGX Orin, where "
        "TensorRT was about 12 % faster (github.com/NVIDIA/cutlass/issues/2996)",
    ),
    ("conv", "fp16"): Efficiency(
        33.4 / 42.5, "taken from the FP16 product: a convolution is one with another addressing"
    ),
    ("conv", "fp32"): Efficiency(4.8 / 5.3, "taken from the FP32 product, as for FP16"),
    ("attention", "fp16"): Efficiency(
        19.8 / 42.5,
        "32 causal layers of 32 heads x 128 over 1032 tokens in 14.07 ms = 19.8 of 42.5 TFLOP/s with FlashAttention 2, "
        f"{_FLASHRT}",
    ),
    ("attention", "int8"): Efficiency(
        19.8 / 85.0, "taken from the FP16 attention, as if INT8 made it no faster: no published figure was found"
    ),
    ("attention", "fp32"): Efficiency(19.8 / 42.5, "taken from the FP16 attention"),
}
# Of the doubled peak, and how many channels in and out a sparse kernel needs; with fewer, or in FP32, it is no faster
# than a dense one, which TensorRT then takes.
SPARSE = Efficiency(
    0.6,
    "times the share of the dense kernel, so 1.2 times as fast: all of ResNeXt-101 on A100 with TensorRT 8 (NVIDIA "
    "Technical Blog, 'Accelerating Inference with Sparsity Using the NVIDIA Ampere Architecture and NVIDIA TensorRT'); "
    "TensorRT's maintainers usually see 15 % or less for a network (github.com/NVIDIA/TensorRT/issues/2310), and gains "
    "only from 256 channels in and out (issues/3849, 4065). Not measured on Orin; on a Jetson, a Q/DQ graph got no "
    "sparse kernels at all (issues/4694, TensorRT 8.6)",
)
SPARSE_CHANNELS = 256
BANDWIDTH = Efficiency(
    173.0 / 204.8,
    f"173 of 204.8 GB/s, estimated by {_FLASHRT}; a plain read reached only 152.8 GB/s in {_APXINF}",
)
VECTOR = Efficiency(4.8 / 5.3, f"4.8 of 5.3 TFLOP/s, {_APXINF}")
KERNEL_S = 3.4e-6
KERNEL_SOURCE = (
    "minimum time of a kernel: effective time of a short kernel in a replayed CUDA graph, NVIDIA Technical Blog, "
    "'Getting Started with CUDA Graphs' (V100; not measured on Orin)"
)
