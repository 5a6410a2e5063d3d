"""Name the models that are taken for a VPP policy: in, a class, a type or a folder; out, one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vpp_edge.errors import BadInputError
from vpp_edge.files.json_file import read_json_file

_MOST_BYTES = 1 << 20
SUPPORTED = "vpp-edge exports VPP (arXiv 2412.14803), whose video model is Stable Video Diffusion"
_VPP2 = f"This looks like VPP2, which builds on a Wan video model and is another architecture. {SUPPORTED}."
# Beginnings of the class names and model types in the configurations of other models.
_FAMILIES = {
    "wan": _VPP2,
    "autoencoderklwan": _VPP2,
    "umt5": _VPP2,  # Wan's text encoder
    "vpp2": _VPP2,
    "t5": f"T5 is the text encoder of other video models. {SUPPORTED} with CLIP.",
    "cogvideox": f"CogVideoX is another video model. {SUPPORTED}.",
    "autoencoderklcogvideox": f"CogVideoX is another video model. {SUPPORTED}.",
    "hunyuanvideo": f"HunyuanVideo is another video model. {SUPPORTED}.",
    "ltx": f"LTX is another video model. {SUPPORTED}.",
    "cosmos": f"Cosmos is another video model. {SUPPORTED}.",
    "stablediffusion": f"Stable Diffusion makes single images. {SUPPORTED}.",
    "unet2dcondition": f"This UNet makes single images. {SUPPORTED}.",
    "clip_vision_model": "This is the half of CLIP that sees images; VPP needs the half that reads text.",
}
_LEROBOT = f"This is a LeRobot policy of type {{kind!r}}, not VPP. {SUPPORTED}."


def foreign_model(name: Any) -> str:
    """One sentence about the model with this class name or model type; "" where it is not known.

    Args:
        name: `_class_name` of diffusers, `model_type` of transformers, or `_target_` of a policy's arguments.
    """
    last = str(name).rsplit(".", 1)[-1].lower() if isinstance(name, str) else ""
    words = [sentence for beginning, sentence in _FAMILIES.items() if last.startswith(beginning)]
    if not words and isinstance(name, str) and "vpp2" in name.lower().replace("_", "").replace("-", ""):
        return _VPP2
    return words[0] if words else ""


def foreign_folder(folder: Path) -> str:
    """One sentence about a folder that holds the policy of another framework; "" where it is none."""
    config = json_object(folder / "config.json")
    if "type" in config and ("input_features" in config or "output_features" in config or "n_action_steps" in config):
        return _LEROBOT.format(kind=config["type"])
    for path in (folder / "model_index.json", *sorted(folder.glob("*/model_index.json"))):
        sentence = foreign_model(json_object(path).get("_class_name"))
        if sentence:
            return sentence
    return foreign_model(config.get("_class_name")) or foreign_model(config.get("model_type"))


def json_object(path: Path) -> dict[str, Any]:
    """The object in a small JSON file; {} if it is not one."""
    try:
        content = read_json_file(path, "a configuration", most_bytes=_MOST_BYTES)
    except BadInputError:
        return {}
    return content if isinstance(content, dict) else {}
