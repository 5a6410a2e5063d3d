"""Measure the bundles of a sweep: in, the bundles and what is known of them; out, a point for each.

Latencies are measured one bundle at a time, in turns with the teacher's, so that nothing else disturbs them. What was
measured is kept beside the bundles.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from vpp_edge.bundle.manifest import Bundle
from vpp_edge.bundle.success_rate import success_rate_from_json
from vpp_edge.executor.interface import Executor
from vpp_edge.files.json_file import read_json_file
from vpp_edge.files.writing import write_whole
from vpp_edge.profile.latency import profile_policies
from vpp_edge.profile.roofline.accelerators import DEVICES
from vpp_edge.profile.roofline.costs import costs_of_graph
from vpp_edge.profile.roofline.prediction import INFERENCE, graphs_of_bundle, sum_of
from vpp_edge.progress import ProgressCallback
from vpp_edge.runtime.policy.edge_policy import EdgePolicy
from vpp_edge.workflow.closed_loop.evaluation import EvalSettings, evaluate
from vpp_edge.workflow.closed_loop.players import PlayerChoice
from vpp_edge.workflow.closed_loop.summary import summary_of
from vpp_edge.workflow.sweep.making import Course
from vpp_edge.workflow.sweep.options import TEACHER, Making
from vpp_edge.workflow.sweep.points import Point

Stages = dict[str, float]
"""Milliseconds of `perceive` and of `act`."""

_WARMUP = 2


def measured_points(course: Course, executor: Executor | None, report: ProgressCallback) -> list[Point]:
    """A point for every bundle and number of acts per look."""
    makings, axes = course.makings(), course.options.axes
    latencies = _latencies(course, makings, lambda fraction: report("latency", fraction))
    points, count = [], len(makings) * len(axes.acts_per_look)
    for making in makings:
        measures = read_json_file(course.measures(making), "what a sweep measured")
        predicted, operations = _predicted(Bundle(course.bundle(making)))
        timed = latencies.get(making.name)
        for acts in axes.acts_per_look:
            on_device = predicted[course.options.device]
            played = _played(course, making, acts=acts, predicted=on_device, executor=executor)
            latency_ms, speedup = (None, None) if timed is None else _measured(*timed, acts)
            points.append(
                Point(
                    name=making.name,
                    student="teacher" if making.student == TEACHER else course.students[making.student].name,
                    steps=making.steps,
                    precision=making.precision,
                    acts_per_look=acts,
                    operations=operations,
                    predicted_ms={name: _of_a_chunk(stages, acts) for name, stages in predicted.items()},
                    action_rms=measures["action_rms"],
                    token_error=measures["token_error"],
                    teacher_spread=measures["teacher_spread"],
                    problems=tuple(measures["problems"]),
                    latency_ms=latency_ms,
                    speedup=None if making.student == TEACHER else speedup,
                    success=None if played is None else success_rate_from_json(played),
                    press_s=None if played is None else played["press_s"],
                )
            )
            report("episodes", len(points) / count)
    return points


def _of_a_chunk(stages: Stages, acts: int) -> float:
    """Milliseconds of one of the chunks that share a look."""
    return stages["perceive"] / acts + stages["act"]


def _measured(own: Stages, teachers: Stages, acts: int) -> tuple[float, float]:
    """Latency of a chunk, and how many times as fast as the teacher that is."""
    latency_ms = _of_a_chunk(own, acts)
    return latency_ms, _of_a_chunk(teachers, 1) / latency_ms


def _predicted(bundle: Bundle) -> tuple[dict[str, Stages], int]:
    """Predicted latency by device, and the operations of an inference."""
    graphs, stages = graphs_of_bundle(bundle), bundle.manifest.stages
    found = {
        name: {each: sum_of(costs_of_graph(graphs[each], device, stages[each].precision)) for each in INFERENCE}
        for name, device in DEVICES.items()
    }
    operations = sum(sums.operations for sums in next(iter(found.values())).values())
    return {device: {each: s.predicted_ms for each, s in sums.items()} for device, sums in found.items()}, operations


def _latencies(
    course: Course, makings: list[Making], report: Callable[[float], None]
) -> dict[str, tuple[Stages, Stages]]:
    """By name of a bundle, its latency here and that of the teacher's bundle of the same precision, in turns."""
    options, found = course.options, {}
    if not options.inferences:
        return {}
    teachers = {making.precision: making for making in makings if making.student == TEACHER}
    for done, making in enumerate(makings):
        kept = course.folder / "bundles" / f"{making.name}-latency.json"
        if not kept.exists():
            write_whole(kept, json.dumps(_timed(course, making, teachers[making.precision])))
        data = read_json_file(kept, "what a sweep measured")
        found[making.name] = data["own"], data["teacher"]
        report((done + 1) / len(makings))
    return found


def _timed(course: Course, making: Making, teacher: Making) -> dict[str, Stages]:
    bundles = {each.name: course.bundle(each) for each in (making, teacher)}
    with ExitStack() as stack:
        policies = {name: stack.enter_context(EdgePolicy.load(bundle, seed=0)) for name, bundle in bundles.items()}
        timed = profile_policies(policies, course.options.inferences, _WARMUP).latencies
    medians = {name: {stage: stages[stage].p50_ms for stage in INFERENCE} for name, stages in timed.items()}
    return {"own": medians[making.name], "teacher": medians[teacher.name]}


def _played(
    course: Course, making: Making, *, acts: int, predicted: Stages, executor: Executor | None
) -> dict[str, Any] | None:
    """Success rate and median time to a success, as kept or now played; None where nothing is to be played."""
    playing = course.options.playing
    if playing is None:
        return None
    delay_ms = sum(predicted.values()) if playing.delay_ms is None else playing.delay_ms
    settings = EvalSettings(
        episodes=playing.episodes,
        seed=course.options.distill.seed,
        delay_ns=round(1e6 * delay_ms),
        chunking=playing.chunking,
        acts_per_look=acts,
        act_delay_ns=round(1e6 * min(predicted["act"], delay_ms)) if acts > 1 else 0,
        world=playing.world,
    )
    kept = course.folder / "bundles" / f"{making.name}-{playing.world}-acts{acts}.json"
    how = {"settings": json.loads(json.dumps(vars(settings)))}
    if kept.exists() and (data := read_json_file(kept, "what a sweep measured"))["settings"] == how["settings"]:
        return data
    summary = summary_of(evaluate(PlayerChoice(str(course.bundle(making))), settings, executor))
    press_s = None if summary.press_s is None else summary.press_s[0]
    data = {**how, **summary.rate.to_json(), "press_s": press_s}
    write_whole(kept, json.dumps(data))
    return data
