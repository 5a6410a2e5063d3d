"""What published INT8 quantizers make of our graphs: in, a float32 bundle; out, a row of facts per library and stage.

Run it in an environment that has vpp-edge, onnx and one or both of the libraries; where TensorRT-RTX is installed too,
it parses the results, and with --build SM builds them. Each quantization is a process of its own, so that its peak of
memory is its own. The feeds are random images and noise: enough for what a library covers and whether its result
loads, not for a verdict on its accuracy with recorded data.

  python benchmarks/existing_quantizers.py my_bundle/ --calibrate 2 --keep /tmp/quantized
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from quantized_graph import PRODUCTS, GraphFacts, facts_of_graph

Feed = Mapping[str, np.ndarray]
LIBRARIES = {"nvidia-modelopt": "modelopt", "onnxruntime": "onnxruntime"}


@dataclass
class Facts:
    """What was observed of one library on one stage.

    Attributes:
        graph: what is in the quantized graph.
        error: of the stage's output on a fresh feed, against float32.
        engine: what TensorRT-RTX says to the result.
    """

    seconds: float = 0.0
    peak_gb: float = 0.0
    failure: str = ""
    graph: GraphFacts | None = None
    error: str = ""
    engine: str = "not installed"

    def lines(self) -> Iterator[str]:
        """The facts, one a line."""
        yield f"{self.seconds:.0f} s, {self.peak_gb:.1f} GB at most"
        if self.failure:
            yield f"failed: {self.failure}"
            return
        yield from self.graph.lines() if self.graph else ()
        yield f"output against float32: {self.error}"
        yield f"TensorRT-RTX: {self.engine}"


class Feeds:
    """Calibration feeds as both libraries read them."""

    def __init__(self, feeds: list[Feed]) -> None:
        self._feeds = feeds
        self.rewind()

    def get_next(self) -> Feed | None:
        return next(self._rest, None)

    def get_first(self) -> Feed:
        return self._feeds[0]

    def rewind(self) -> None:
        self._rest = iter(self._feeds)


def stage_feeds(bundle: Path, count: int, seed: int) -> dict[str, list[Feed]]:
    """Inputs of `perceive` and `act` for random observations; text and tokens come from the stages before."""
    from vpp_edge.runtime.policy.edge_policy import EdgePolicy
    from vpp_edge.spec.sample import draw_noise
    from vpp_edge.spec.stage_inputs import act_inputs, perceive_inputs

    policy, generator = EdgePolicy.load(bundle), np.random.default_rng(seed)
    policy.instruct("pick up the red block")
    spec, feeds = policy.spec, {"perceive": [], "act": []}
    for _ in range(count):  # small images of noise, which the policy's resize makes smooth
        frames = policy.prepare([generator.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in spec.cameras])
        video_noise, action_noise = draw_noise(spec, generator)
        proprio = None if spec.state is None else generator.uniform(-1, 1, spec.state.dims).astype(np.float32)
        tokens = policy.perceive(frames, video_noise=video_noise)
        feeds["perceive"].append(perceive_inputs(frames, policy.text[0], video_noise))
        feeds["act"].append(
            act_inputs(spec, tokens=tokens, goal=policy.text[1], action_noise=action_noise, proprio=proprio)
        )
    return feeds


def quantize_with_modelopt(source: Path, target: Path, feeds: Feeds) -> None:
    """NVIDIA Model Optimizer, as its manual calls it for TensorRT: INT8, the rest FP16."""
    from modelopt.onnx.quantization import quantize

    quantize(
        str(source), quantize_mode="int8", calibration_data_reader=feeds, calibration_method="max",
        calibration_eps=["cpu"], op_types_to_quantize=list(PRODUCTS), high_precision_dtype="fp16",
        use_external_data_format=True, output_path=str(target), log_level="WARNING",
    )  # fmt: skip


def quantize_with_onnxruntime(source: Path, target: Path, feeds: Feeds) -> None:
    """ONNX Runtime's static quantization after its own preparation, with the options that TensorRT asks for."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared, skip_symbolic_shape=True, save_as_external_data=True)
    options = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
    quantize_static(
        prepared, target, feeds, quant_format=QuantFormat.QDQ, op_types_to_quantize=list(PRODUCTS), per_channel=True,
        activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
        use_external_data_format=True, extra_options=options,
    )  # fmt: skip


QUANTIZERS: dict[str, Callable[[Path, Path, Feeds], None]] = {
    "nvidia-modelopt": quantize_with_modelopt,
    "onnxruntime": quantize_with_onnxruntime,
}


def _quantize(library: str, source: Path, target: Path, feeds: list[Feed], answers: Any) -> None:
    started, failure = time.monotonic(), ""
    try:
        QUANTIZERS[library](source, target, Feeds(feeds))
    except Exception as error:  # noqa: BLE001 - whatever a library raises is the fact that we are after
        failure = f"{type(error).__name__}: {str(error)[:300]}"
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    answers.put((time.monotonic() - started, peak_gb, failure))


def observe(library: str, source: Path, target: Path, feeds: list[Feed]) -> Facts:
    """Quantizes in a process of its own, and looks at the result."""
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    process = context.Process(target=_quantize, args=(library, source, target, feeds[:-1], answers))
    process.start()
    process.join()
    if process.exitcode != 0:
        return Facts(failure=f"its process ended with {process.exitcode}")
    facts = Facts(*answers.get())
    if facts.failure:
        return facts
    facts.graph = facts_of_graph(target)
    facts.error = error_of(source, target, feeds[-1])
    return facts


def error_of(source: Path, target: Path, feed: Feed) -> str:
    """Relative RMS error and cosine of the first output, both graphs on ONNX Runtime's CPU."""
    import onnxruntime

    from vpp_edge.bundle.comparison import compare

    outputs = []
    for path in (source, target):
        try:
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - onnxruntime raises its own classes without a common base
            return f"ONNX Runtime refuses it: {str(error)[:200]}"
        halves = {i.name: i.type == "tensor(float16)" for i in session.get_inputs()}
        fed = {name: feed[name].astype(np.float16) if half else feed[name] for name, half in halves.items()}
        outputs.append(session.run(None, fed)[0])
    found = compare(outputs[1], outputs[0])
    return f"relative RMS {found.rms_relative:.4f}, cosine {found.cosine:.6f}"


def engine_of(target: Path, bundle: Path, stage: str, sm: str | None) -> str:
    """What TensorRT-RTX says to a graph, by the very calls of `vpp-edge build`: strongly typed."""
    import onnx

    from vpp_edge.bundle.manifest import Bundle
    from vpp_edge.errors import VppEdgeError
    from vpp_edge.runtime.policy.engines.tensorrt import builder, flags, library, network

    trt = library.LIBRARIES["tensorrt-rtx"].load()
    record = replace(Bundle(bundle).stage(stage), graph=target.name, weights=None)
    verified = network.VerifiedStage(record, onnx.load(target).SerializeToString(), {})
    try:
        if sm is not None:
            compiled = builder.compile_stage(trt, verified, flags.BuildFlags(), sm=sm)
            return f"builds for SM {sm} in {compiled.seconds:.0f} s, {len(compiled.plan) / 1e6:.0f} MB"
        logger = builder.make_logger(trt)
        parsed, referred = network.network_from_stage(trt, trt.Builder(logger), logger, verified)
        said = f"parses, {parsed.num_layers} layers"
        del referred
        return said
    except VppEdgeError as error:
        return str(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--stages", nargs="+", default=["perceive", "act"])
    parser.add_argument("--calibrate", type=int, default=2, metavar="N", help="feeds for the ranges (2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--build", metavar="SM", help="let TensorRT-RTX build for this capability, not only parse")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the quantized graphs there")
    arguments = parser.parse_args()
    feeds = stage_feeds(arguments.bundle, arguments.calibrate + 1, arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        for library, module in LIBRARIES.items():
            if importlib.util.find_spec(module) is None:
                continue
            versions = {d.metadata["Name"]: d.version for d in metadata.distributions()}
            shown = [f"{n} {v}" for n, v in sorted(versions.items()) if n.startswith(("nvidia-modelopt", "onnx"))]
            print(f"{library} ({', '.join(shown)})", flush=True)
            for stage in arguments.stages:
                folder = (arguments.keep or Path(temporary)) / library / stage
                folder.mkdir(parents=True, exist_ok=True)
                source = arguments.bundle / "onnx" / f"{stage}.onnx"
                facts = observe(library, source, folder / f"{stage}.int8.onnx", feeds[stage])
                if not facts.failure and importlib.util.find_spec("tensorrt_rtx_bindings") is not None:
                    facts.engine = engine_of(folder / f"{stage}.int8.onnx", arguments.bundle, stage, arguments.build)
                print(*(f"  {stage}: {line}" for line in facts.lines()), sep="\n", flush=True)


if __name__ == "__main__":
    main()
