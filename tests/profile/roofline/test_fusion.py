"""Each rule that groups nodes into kernels, on minimal graphs, and the names of kernels."""

from __future__ import annotations

from onnx_graphs import model, node

from vpp_edge.bundle.work import Graph
from vpp_edge.export.counting import graph_from_model
from vpp_edge.profile.roofline.fusion import ATTENTION, CONV, GEMM, MEMORY, Group, groups_from_graph
from vpp_edge.profile.roofline.layers import layer_names, part_of

X = (2, 32, 5, 5)


def kernels(graph: Graph) -> list[list[str]]:
    return [[n.outputs[0] for n in group.nodes] for group in groups_from_graph(graph)]


def the(groups: tuple[Group, ...], made: str) -> Group:
    return next(g for g in groups if any(made in n.outputs for n in g.nodes))


def residual_block() -> Graph:
    nodes = [
        node("Conv", "x w1", "c1"),
        node("Sigmoid", "c1", "s"),
        node("Mul", "c1 s", "a"),
        node("Conv", "a w2", "c2"),
        node("Add", "c2 x", "y"),
    ]
    weights = {"w1": (32, 32, 1, 1), "w2": (32, 32, 1, 1)}
    return graph_from_model(model(nodes, {"x": X}, {"y": X}, weights, dict.fromkeys(("c1", "s", "a", "c2"), X)))


def test_bias_activation_and_residual_join_the_convolution() -> None:
    graph = residual_block()
    assert kernels(graph) == [["c1", "s", "a"], ["c2", "y"]]
    first, second = groups_from_graph(graph)
    assert (first.kind, second.kind) == (CONV, CONV)
    assert first.reads == {"x": 1600} and first.weights == {"w1": 1024} and first.writes == {"a": 1600}
    assert second.reads == {"a": 1600, "x": 1600} and second.writes == {"y": 1600}


def test_what_is_read_elsewhere_too_is_also_written() -> None:
    nodes = [node("Conv", "x w", "c"), node("Relu", "c", "r"), node("Conv", "r w", "d"), node("Add", "d c", "y")]
    graph = graph_from_model(model(nodes, {"x": X}, {"y": X}, {"w": (32, 32, 1, 1)}, dict.fromkeys(("c", "r", "d"), X)))
    assert the(groups_from_graph(graph), "c").writes == {"c": 1600, "r": 1600}


def test_a_sum_joins_the_later_of_its_makers() -> None:
    nodes = [node("Conv", "x w", "c"), node("Conv", "x v", "d"), node("Add", "c d", "y")]
    weights = {"w": (32, 32, 1, 1), "v": (32, 32, 1, 1)}
    graph = graph_from_model(model(nodes, {"x": X}, {"y": X}, weights, {"c": X, "d": X}))
    assert kernels(graph) == [["c"], ["d", "y"]]


def test_a_pointwise_node_waits_for_no_kernel_behind_its_own() -> None:
    """y = x * f(x), f a small product: if y joined the convolution, the two kernels would wait for each other."""
    nodes = [
        node("Conv", "x w", "c"),
        node("ReduceMean", "c", "m"),
        node("MatMul", "m v", "g"),
        node("Mul", "c g", "y"),
    ]
    weights, inner = {"w": (32, 32, 1, 1), "v": (1, 1)}, {"c": X, "m": (2, 32, 1, 1), "g": (2, 32, 1, 1)}
    graph = graph_from_model(model(nodes, {"x": X}, {"y": X}, weights, inner))
    assert kernels(graph) == [["c"], ["m"], ["g"], ["y"]]


def test_a_small_tensor_that_is_added_does_not_take_the_large_one() -> None:
    nodes = [node("Conv", "x w", "c"), node("MatMul", "t v", "e"), node("Add", "c e", "y")]
    weights, inner = {"w": (32, 32, 1, 1), "v": (1, 1)}, {"c": X, "e": (2, 32, 1, 1)}
    graph = graph_from_model(model(nodes, {"x": X, "t": (2, 32, 1, 1)}, {"y": X}, weights, inner))
    assert kernels(graph) == [["c", "y"], ["e"]]


def test_views_are_free_and_looked_through() -> None:
    nodes = [
        node("MatMul", "x w", "p"),
        node("Reshape", "p n", "r"),
        node("Transpose", "r", "t", perm=[0, 2, 1]),
        node("Add", "t b", "y"),
    ]
    weights, inner = {"w": (6, 6), "n": (3,), "b": (6, 1)}, {"p": (10, 6), "r": (2, 5, 6), "t": (2, 6, 5)}
    graph = graph_from_model(model(nodes, {"x": (10, 6)}, {"y": (2, 6, 5)}, weights, inner))
    assert kernels(graph) == [["p", "y"]]


def test_half_of_a_product_is_no_epilogue() -> None:
    """A gate multiplies columns that lie in other tiles of the product, so it is a kernel of its own."""
    nodes = [
        node("MatMul", "x w", "p"),
        node("Split", "p", "a b", axis=1, num_outputs=2),
        node("Gelu", "b", "g"),
        node("Mul", "a g", "y"),
    ]
    inner = {"p": (10, 12), "a": (10, 6), "b": (10, 6), "g": (10, 6)}
    graph = graph_from_model(model(nodes, {"x": (10, 6)}, {"y": (10, 6)}, {"w": (6, 12)}, inner))
    assert kernels(graph) == [["p"], ["g", "y"]]
    product, gate = groups_from_graph(graph)
    assert (product.kind, gate.kind) == (GEMM, MEMORY)
    assert gate.reads == {"p": 120} and gate.writes == {"y": 60}


def test_a_concatenation_is_written_by_the_kernels_of_its_parts() -> None:
    nodes = [
        node("Conv", "x w", "c"),
        node("Conv", "x v", "d"),
        node("Concat", "c d", "k", axis=1),
        node("Conv", "k u", "y"),
    ]
    weights = {"w": (32, 32, 1, 1), "v": (32, 32, 1, 1), "u": (32, 64, 1, 1)}
    graph = graph_from_model(model(nodes, {"x": X}, {"y": X}, weights, {"c": X, "d": X, "k": (2, 64, 5, 5)}))
    assert kernels(graph) == [["c"], ["d"], ["y"]]
    assert the(groups_from_graph(graph), "y").reads == {"c": 1600, "d": 1600}


def test_a_norm_is_one_pass_with_its_scale_and_activation() -> None:
    nodes = [
        node("InstanceNormalization", "x s b", "n"),
        node("Mul", "n g", "m"),
        node("Sigmoid", "m", "o"),
        node("Mul", "m o", "y"),
    ]
    weights = {"s": (32,), "b": (32,), "g": (32, 1, 1)}
    graph = graph_from_model(model(nodes, {"x": X}, {"y": X}, weights, dict.fromkeys(("n", "m", "o"), X)))
    assert kernels(graph) == [["n", "m", "o", "y"]]
    (norm,) = groups_from_graph(graph)
    assert norm.reads == {"x": 1600} and norm.writes == {"y": 1600} and norm.vector_operations == (6 + 3) * 1600


def attention(extra_output: bool = False) -> Graph:
    q, s = (1, 8, 20, 16), (1, 8, 20, 20)
    nodes = [
        node("Mul", "q c", "qs"),
        node("Transpose", "k", "kt", perm=[0, 1, 3, 2]),
        node("MatMul", "qs kt", "z"),
        node("Add", "z mask", "zm"),
        node("Softmax", "zm", "p"),
        node("MatMul", "p v", "y"),
    ]
    outputs = {"y": q, **({"p": s} if extra_output else {})}
    inner = {"qs": q, "kt": (1, 8, 16, 20), "z": s, "zm": s, "p": s}
    return graph_from_model(model(nodes, {"q": q, "k": q, "v": q, "mask": (20, 20)}, outputs, {"c": ()}, inner))


def test_attention_keeps_its_scores_on_the_chip() -> None:
    (group,) = groups_from_graph(attention())
    assert group.kind == ATTENTION
    assert group.reads == {"q": 2560, "k": 2560, "v": 2560, "mask": 400} and group.writes == {"y": 2560}
    assert group.matrix_operations == 2 * 2 * (8 * 20 * 20) * 16


def test_scores_with_another_reader_are_written() -> None:
    groups = groups_from_graph(attention(extra_output=True))
    assert all(group.kind != ATTENTION for group in groups)
    assert any("p" in group.writes for group in groups)


def test_a_scaled_copy_of_what_is_written_anyway_moves_to_its_reader() -> None:
    """y = 2 * c + norm(c): the convolution writes c for the norm, so 2 * c costs no second write."""
    nodes = [
        node("Conv", "x w", "c"),
        node("Mul", "c two", "m"),
        node("InstanceNormalization", "c s b", "n"),
        node("Add", "m n", "y"),
    ]
    weights = {"w": (32, 32, 1, 1), "two": (), "s": (32,), "b": (32,)}
    graph = graph_from_model(model(nodes, {"x": X}, {"y": X}, weights, dict.fromkeys(("c", "m", "n"), X)))
    assert kernels(graph) == [["c"], ["m", "n", "y"]]


def test_an_embedding_reads_the_rows_it_takes() -> None:
    nodes = [node("Gather", "table ids", "y")]
    graph = graph_from_model(model(nodes, {"ids": (3,)}, {"y": (3, 8)}, {"table": (1000, 8)}))
    assert groups_from_graph(graph)[0].weights == {"table": 24}


def test_every_node_with_work_is_in_one_kernel() -> None:
    graph = residual_block()
    indices = [n.index for group in groups_from_graph(graph) for n in group.nodes]
    assert sorted(indices) == [n.index for n in graph.nodes]


def test_kernels_are_named_after_parameters_or_their_neighbours() -> None:
    nodes = [
        node("MatMul", "x net.unet.a.weight", "p"),
        node("Transpose", "net.unet.b.1.weight", "bt"),
        node("MatMul", "p folded", "q"),
        node("MatMul", "q bt", "y"),
    ]
    weights = {"net.unet.a.weight": (8, 8), "net.unet.b.1.weight": (8, 8), "folded": (8, 8)}
    graph = graph_from_model(
        model(nodes, {"x": (4, 8)}, {"y": (4, 8)}, weights, {"p": (4, 8), "q": (4, 8), "bt": (8, 8)})
    )
    assert layer_names(graph, groups_from_graph(graph)) == ("net.unet.a", "net.unet", "net.unet.b.1")


def test_a_vector_that_was_merged_from_many_names_nothing() -> None:
    nodes = [
        node("MatMul", "x v.a.weight", "p"),
        node("Add", "p v.a.bias", "pa"),
        node("MatMul", "pa one", "q"),
        node("Add", "q v.a.bias", "qa"),
        node("MatMul", "qa v.c.weight", "y"),
    ]
    weights = {"v.a.weight": (8, 8), "v.a.bias": (8,), "one": (8, 8), "v.c.weight": (8, 8)}
    inner = dict.fromkeys(("p", "pa", "q", "qa"), (4, 8))
    graph = graph_from_model(model(nodes, {"x": (4, 8)}, {"y": (4, 8)}, weights, inner))
    assert layer_names(graph, groups_from_graph(graph)) == ("v.a", "v", "v.c")


def test_parts_of_a_policy() -> None:
    assert part_of("perceive", "video.unet.down_blocks.0.attentions.0.transformer_blocks.0") == "UNet"
    assert part_of("perceive", "reader.up.0.transformers.1") == "UNet"
    assert part_of("perceive", "video.encoder.conv_in") == "VAE encoder"
    assert part_of("perceive", "former.layers.0.1.qkv") == "Video Former"
    assert part_of("perceive", "") == "UNet"
    assert part_of("act", "head.decoder.blocks.0.attn") == "head.decoder"
    assert part_of("act", "head.action_emb") == "head"
    assert part_of("act", "") == ""
