"""`vpp-edge inspect`: prints what is in a bundle, or what a checkpoint would become."""

from __future__ import annotations

import argparse
import json
import mmap
from pathlib import Path

from vpp_edge.bundle.manifest import ORIGIN, STUDENT, Bundle, Manifest, export_command, is_checkpoint
from vpp_edge.cli.certificate_text import certificate_lines
from vpp_edge.cli.libraries import install_command
from vpp_edge.cli.student_text import certificate_note, readable_student_lines
from vpp_edge.errors import BadInputError, MissingDependencyError
from vpp_edge.installing import is_installed
from vpp_edge.spec.policy import SEGMENT_KINDS, PolicySpec
from vpp_edge.wording import counted

HELP = """Show what is in a bundle: policy, actions, stages, files, parity certificate and where it came from.

Of a checkpoint that was not exported yet, show the policy and the command that makes a bundle of it. That reads and
checks all weights, and needs what export needs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bundle", type=Path, metavar="BUNDLE", help="bundle or checkpoint folder, or an ONNX file: where it comes from"
    )
    parser.add_argument("--hash", action="store_true", help="also check every file against its SHA-256")


def run(arguments: argparse.Namespace) -> int:
    if is_checkpoint(arguments.bundle):
        return _inspect_checkpoint(arguments)
    if arguments.bundle.suffix == ".onnx" and arguments.bundle.is_file():
        return _inspect_graph(arguments)
    bundle = Bundle(arguments.bundle)
    if arguments.hash:
        bundle.verify_all()
    manifest = bundle.manifest
    if arguments.json:
        print(json.dumps({"bundle": str(bundle.path), "manifest_sha256": bundle.manifest_sha256, **manifest.to_json()}))
        return 0
    print(f"{bundle.path}  (manifest SHA-256 {bundle.manifest_sha256[:16]}...)")
    card = readable_student_lines(manifest.provenance.get(STUDENT))
    print("\n".join([*_policy(manifest.policy), *card, *_stages(manifest), *_files(manifest), *_origin(manifest)]))
    return 0


def _inspect_checkpoint(arguments: argparse.Namespace) -> int:
    path, export = arguments.bundle, export_command(arguments.bundle)
    if arguments.hash:
        raise BadInputError(f"{path} is a checkpoint, which has no hashes to check; make a bundle of it: {export}")
    if not is_installed("torch"):
        raise MissingDependencyError("torch", f"showing what is in the checkpoint {path}", install_command("torch"))
    from vpp_edge.checkpoint.paths import paths_from_folder
    from vpp_edge.checkpoint.reader import read_checkpoint

    checkpoint = read_checkpoint(paths_from_folder(path))
    encoder = checkpoint.vae.config["_class_name"]
    if arguments.json:
        facts = {"policy": checkpoint.spec.to_json(), "image_encoder": encoder, STUDENT: checkpoint.card}
        print(json.dumps({"checkpoint": str(path), **facts, "export": export}))
        return 0
    print(f"{path}  (a trained checkpoint, not exported yet)")
    encoded = f"images    encoded by {encoder}"
    print("\n".join([*_policy(checkpoint.spec), encoded, *readable_student_lines(checkpoint.card)]))
    print(f"\nIts weights are complete. What a robot runs is a bundle: {export}")
    return 0


def _inspect_graph(arguments: argparse.Namespace) -> int:
    """Where a single ONNX file comes from."""
    from vpp_edge.runtime.policy.engines.onnx_scan import metadata

    path = arguments.bundle
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
    facts = {k.removeprefix(ORIGIN): v for k, v in metadata(str(path), content).items() if k.startswith(ORIGIN)}
    if not facts:
        raise BadInputError(f"{path}: this file does not say that it comes from a bundle; give a bundle folder")
    if arguments.json:
        print(json.dumps({"file": str(path), **facts}))
    else:
        print("\n".join(f"{name:13}  {value}" for name, value in {"file": str(path), **facts}.items()))
    return 0


def _policy(spec: PolicySpec) -> list[str]:
    rate_hz = 1e9 / spec.action.period_ns
    camera = spec.cameras[0]
    views = ", ".join(c.name for c in spec.cameras)
    state = "none" if spec.state is None else f"{spec.state.dims} numbers, quaternions {spec.state.quaternion_order}"
    computed = "" if spec.computed_frames is None else f", {spec.computed_frames} of them computed"
    seconds = spec.action.horizon / rate_hz
    lines = [
        "",
        f"policy    {spec.variant}, {counted(len(spec.cameras), 'camera')} ({views}) "
        f"at {camera.width} x {camera.height}, "
        f"{spec.frames} predicted frames{computed}",
        f"state     {state}",
        f"actions   {spec.action.horizon} x {spec.action.dims} at {rate_hz:g} Hz ({seconds:g} s per chunk), "
        f"{counted(len(spec.sigmas) - 1, spec.sampler + ' step')}",
    ]
    for s in spec.action.segments:
        kind = f"{s.kind}, offset from the state" if s.offset_from_state else f"{s.kind}: {SEGMENT_KINDS[s.kind]}"
        unit = f"{s.scale:g} {s.unit}" if s.scale != 1 else s.unit
        lines.append(f"          [{s.start:>2}..{s.start + s.size - 1:>2}] arm {s.arm}  {unit:<9} {kind}")
    bounds = spec.action.bounds
    lines.append(
        "          raw, not normalized" if bounds is None else "          normalized by 1st/99th percentile bounds"
    )
    return lines + [f"note      {note}" for note in spec.notes]


def _stages(manifest: Manifest) -> list[str]:
    lines = ["", "stages"]
    for s in manifest.stages.values():
        signature = ", ".join(f"{t.name} {t.dtype} {t.shape}" for t in s.inputs)
        outputs = ", ".join(f"{t.name} {t.dtype} {t.shape}" for t in s.outputs)
        sparse = f", {s.sparse_share:.1%} of its products with 2:4 sparse weights" if s.sparse_share else ""
        lines.append(
            f"  {s.name:<9} {s.precision}  {s.graph}{sparse}\n            in:  {signature}\n            out: {outputs}"
        )
    return lines


def _files(manifest: Manifest) -> list[str]:
    total = sum(f.size for f in manifest.files.values())
    lines = ["", f"files     {len(manifest.files)}, {total / 2**20:.1f} MiB"]
    return lines + [f"  {f.size:>12,}  {f.sha256[:16]}...  {name}" for name, f in manifest.files.items()]


def _origin(manifest: Manifest) -> list[str]:
    from vpp_edge.bundle.certificate import certificate_from_json

    origin = manifest.provenance
    try:
        certificate = certificate_from_json(manifest.certificate)
        lines = ["", f"parity    against {certificate.reference}", *certificate_lines(certificate, every_column=True)]
        lines += certificate_note(manifest)
        lines += [f"  OVER ITS LIMIT: {problem}" for problem in certificate.problems()]
    except BadInputError as error:
        lines = ["", f"parity    {error}"]
    versions = ", ".join(f"{n} {v}" for n, v in origin.get("versions", {}).items() if v)
    return [
        *lines,
        "",
        f"exported  {origin.get('created')} with {versions}",
        f"from      {origin.get('checkpoint', {}).get('policy')}",
        f"id        {origin.get('id', 'none')}   (the same in every ONNX file of it: vpp-edge inspect FILE.onnx)",
    ]
