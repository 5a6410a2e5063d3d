"""The tensors of `policy.pt`: names and shapes that Video Former and action head must have at given sizes.

The released names are kept here and in the model, so that a tensor can be followed from the checkpoint to the module
that uses it.
"""

from __future__ import annotations

from vpp_edge.checkpoint.config import FormerConfig, HeadConfig

FORMER_PREFIX = "Video_Former."
HEAD_PREFIX = "model.inner_model."
TEXT_COPY_PREFIXES = ("TVP_encoder.text_encoder.", "text_encoder.")
OPENAI_CLIP_PREFIX = "language_goal.clip_rn50."
# In every trained checkpoint, without effect on the output (docs/vpp.md, step 5).
UNUSED = ("pos_emb", "goal_emb.0.weight", "goal_emb.0.bias", "goal_emb.2.weight", "goal_emb.2.bias")

Shapes = dict[str, tuple[int, ...]]
UNUSED_IN_FILE = frozenset(HEAD_PREFIX + name for name in UNUSED)


def former_tensors(c: FormerConfig) -> Shapes:
    """Names (without prefix) and shapes of the Video Former."""
    if c.kind == "linear":
        return _linear("", c.channels, c.width)
    inner = c.heads * c.head_width
    shapes: Shapes = {
        "latents": (c.frames, c.queries_per_frame, c.width),
        "time_pos_emb": (c.time_embeddings, 1, c.width),
    }
    shapes |= _linear("goal_emb.0.", c.channels, c.hidden) | _linear("goal_emb.2.", c.hidden, c.width)
    for i in range(c.depth):
        layer = f"layers.{i}."
        shapes |= _norm(f"{layer}0.norm_media.", c.width) | _norm(f"{layer}0.norm_latents.", c.width)
        shapes |= {f"{layer}0.to_{x}.weight": (inner, c.width) for x in "qkv"}
        shapes[f"{layer}0.to_out.weight"] = (c.width, inner)
        if c.kind == "3d":
            shapes |= _linear(f"{layer}1.qkv.", c.width, 3 * c.width) | _linear(f"{layer}1.proj.", c.width, c.width)
        feed_forward = f"{layer}{2 if c.kind == '3d' else 1}."
        shapes |= _norm(f"{feed_forward}0.", c.width)
        shapes[f"{feed_forward}1.weight"] = (c.feed_forward, c.width)
        shapes[f"{feed_forward}3.weight"] = (c.width, c.feed_forward)
    return shapes | _norm("norm.", c.width)


def head_tensors(c: HeadConfig) -> Shapes:
    """Names (without prefix) and shapes of the action head, the unused ones included."""
    hidden = c.projection_hidden
    shapes: Shapes = {"pos_emb": (1, c.positions, c.width)} | _linear("tok_emb.", c.token_width, c.width)
    for name in ("goal_emb", "lang_emb"):
        shapes |= _linear(f"{name}.0.", c.goal_width, hidden) | _linear(f"{name}.2.", hidden, c.width)
    for i in range(c.encoder_layers):
        block = f"encoder.blocks.{i}."
        shapes |= {f"{block}ln_1.weight": (c.width,), f"{block}ln_2.weight": (c.width,)}
        shapes |= _attention(f"{block}attn.", c.width) | _feed_forward(f"{block}mlp.", c)
    for i in range(c.decoder_layers):
        block = f"decoder.blocks.{i}."
        shapes |= {f"{block}ln_1.weight": (c.width,), f"{block}ln_2.weight": (c.width,)} | _norm(
            f"{block}ln3.", c.width
        )
        shapes |= _attention(f"{block}attn.", c.width) | _attention(f"{block}cross_att.", c.width)
        shapes |= _feed_forward(f"{block}mlp.", c) | _linear(f"{block}adaLN_zero.modulation.1.", c.width, 6 * c.width)
    shapes |= {"encoder.ln.weight": (c.width,), "decoder.ln.weight": (c.width,)}
    if c.proprio_tensor:
        shapes |= _linear("proprio_emb.0.", c.proprio_tensor, 2 * c.width)
        shapes |= _linear("proprio_emb.2.", 2 * c.width, c.width)
    shapes |= _linear("sigma_emb.1.", c.width, 2 * c.width) | _linear("sigma_emb.3.", 2 * c.width, c.width)
    return shapes | _linear("action_emb.", c.actions, c.width) | _linear("action_pred.", c.width, c.actions)


def openai_clip_text_names(layers: int) -> dict[str, tuple[str, ...]]:
    """OpenAI CLIP's text tensors -> the transformers tensors they are made of (concatenated; projection transposed)."""
    text = "text_model."
    names: dict[str, tuple[str, ...]] = {
        "token_embedding.weight": (f"{text}embeddings.token_embedding.weight",),
        "positional_embedding": (f"{text}embeddings.position_embedding.weight",),
        "ln_final.weight": (f"{text}final_layer_norm.weight",),
        "ln_final.bias": (f"{text}final_layer_norm.bias",),
        "text_projection": ("text_projection.weight",),
    }
    pairs = (
        ("attn.out_proj", "self_attn.out_proj"),
        ("ln_1", "layer_norm1"),
        ("ln_2", "layer_norm2"),
        ("mlp.c_fc", "mlp.fc1"),
        ("mlp.c_proj", "mlp.fc2"),
    )
    for i in range(layers):
        theirs, ours = f"transformer.resblocks.{i}.", f"{text}encoder.layers.{i}."
        for kind in ("weight", "bias"):
            names[f"{theirs}attn.in_proj_{kind}"] = tuple(f"{ours}self_attn.{x}_proj.{kind}" for x in "qkv")
            names |= {f"{theirs}{a}.{kind}": (f"{ours}{b}.{kind}",) for a, b in pairs}
    return names


def _linear(prefix: str, inputs: int, outputs: int) -> Shapes:
    return {f"{prefix}weight": (outputs, inputs), f"{prefix}bias": (outputs,)}


def _norm(prefix: str, width: int) -> Shapes:
    return {f"{prefix}weight": (width,), f"{prefix}bias": (width,)}


def _attention(prefix: str, width: int) -> Shapes:
    shapes: Shapes = {f"{prefix}c_proj.weight": (width, width)}
    for name in ("key", "query", "value"):
        shapes |= _linear(f"{prefix}{name}.", width, width)
    return shapes


def _feed_forward(prefix: str, c: HeadConfig) -> Shapes:
    return {f"{prefix}c_fc.weight": (c.feed_forward, c.width), f"{prefix}c_proj.weight": (c.width, c.feed_forward)}
