"""The geometry of a CLIP: what `config.json` of a transformers CLIPModel folder says, and the three public sizes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from petvr.errors import PetvrError, unknown
from petvr.text_files import read_json

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP's training pixels, RGB in [0, 1]
STD = (0.26862954, 0.26130258, 0.27577711)
LARGEST = 100_000  # of any size but that of the vocabulary: more is no CLIP, and no memory holds it
LEGACY_EOS = 2  # the hub's older files say 2 and mean the highest id of the vocabulary


@dataclass(frozen=True)
class Tower:
    """Width D, number of blocks, heads, width of the MLP, its activation, epsilon of the LayerNorms."""

    width: int
    layers: int
    heads: int
    mlp: int
    act: str = "quick_gelu"
    eps: float = 1e-5


@dataclass(frozen=True)
class ClipConfig:
    """Both towers; image and patch size in pixels, number of text positions, vocabulary, id of EOT, embedding E."""

    vision: Tower
    text: Tower
    image: int
    patch: int
    positions: int
    vocab: int
    eot: int
    embed: int
    logit_scale: float = 2.6592
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    @property
    def towers(self) -> dict[str, Tower]:
        return {"vision": self.vision, "text": self.text}

    @property
    def patches(self) -> int:
        return (self.image // self.patch) ** 2

    def to_hf(self) -> dict[str, Any]:
        """The dictionary that `transformers.CLIPConfig` and `from_hf` read."""

        def tower(part: Tower) -> dict[str, Any]:
            return {
                "hidden_size": part.width,
                "num_hidden_layers": part.layers,
                "num_attention_heads": part.heads,
                "intermediate_size": part.mlp,
                "hidden_act": part.act,
                "layer_norm_eps": part.eps,
                "projection_dim": self.embed,
            }

        words = {"max_position_embeddings": self.positions, "vocab_size": self.vocab, "eos_token_id": self.eot}
        words |= {"bos_token_id": self.eot - 1, "pad_token_id": 1}
        return {
            "architectures": ["CLIPModel"],
            "model_type": "clip",
            "projection_dim": self.embed,
            "logit_scale_init_value": self.logit_scale,
            "vision_config": {
                **tower(self.vision),
                "model_type": "clip_vision_model",
                "image_size": self.image,
                "patch_size": self.patch,
            },
            "text_config": {**tower(self.text), "model_type": "clip_text_model", **words},
        }


_B = ClipConfig(
    Tower(768, 12, 12, 3072),
    Tower(512, 12, 8, 2048),
    image=224,
    patch=32,
    positions=77,
    vocab=49408,
    eot=49407,
    embed=512,
)
_L = {"vision": Tower(1024, 24, 16, 4096), "text": Tower(768, 12, 12, 3072), "patch": 14, "embed": 768}
GEOMETRIES = {
    "vit-b-32": _B,
    "vit-b-16": ClipConfig(**{**vars(_B), "patch": 16}),
    "vit-l-14": ClipConfig(**{**vars(_B), **_L}),
}


def geometry(backbone: str) -> ClipConfig:
    """The published size of a backbone; the demo's `tiny` is known only from its own folder."""
    if backbone not in GEOMETRIES:
        raise unknown("backbone", backbone, GEOMETRIES)
    return GEOMETRIES[backbone]


def settings_limits(config: ClipConfig) -> dict[str, int]:
    """The sizes of a CLIP that the upper bound of a setting may name."""
    vision, text = config.vision, config.text
    return {
        "layers": min(vision.layers, text.layers),
        "vision_layers": vision.layers,
        "narrower_width": min(vision.width, text.width),
        "patches": config.patches,
        "free_positions": config.positions - 2,  # of texts, beside SOT and EOT
        "mlp_remainder": vision.mlp % vision.width,
    }


def with_layers(config: ClipConfig, layers: int) -> ClipConfig:
    """The same CLIP cut to its first `layers` blocks in both towers."""
    cut = {**vars(config)}
    for tower in ("vision", "text"):
        cut[tower] = Tower(**{**asdict(cut[tower]), "layers": layers})
    return ClipConfig(**cut)


def read_config(folder: str | Path) -> ClipConfig:
    """From a CLIPModel folder: config.json, and preprocessor_config.json for the pixel mean and std if it is there."""
    folder = Path(folder)
    extra = _json(folder / "preprocessor_config.json") if (folder / "preprocessor_config.json").exists() else {}
    return from_hf(_json(folder / "config.json"), extra, where=str(folder / "config.json"))


def from_hf(data: dict[str, Any], preprocessor: dict[str, Any] | None = None, where: str = "config") -> ClipConfig:
    """From CLIPConfig's dictionary; what it leaves out has the value transformers gives it (that of ViT-B/32)."""
    if data.get("model_type", "clip") != "clip":
        raise PetvrError(f"{where}: model_type: '{data['model_type']}' is not a CLIP; allowed: clip")

    def part(name: str) -> dict[str, Any]:
        layers = [data.get(key) or {} for key in (name, f"{name}_dict")]
        if not all(isinstance(layer, dict) for layer in layers):
            raise PetvrError(f"{where}: {name}: must hold keys and values")
        return {**layers[0], **layers[1]}

    vision, text = part("vision_config"), part("text_config")

    def whole(section: dict[str, Any], key: str, default: int, low: int = 1, high: int = LARGEST) -> int:
        value = section.get(key, default)
        if type(value) is not int or not low <= value <= high:
            raise PetvrError(f"{where}: {key}: {value!r:.60} given, allowed: a whole number, {low} to {high:,}")
        return value

    def number(value: Any, key: str, low: float, high: float) -> float:
        if type(value) not in (int, float) or not low <= value <= high:
            raise PetvrError(f"{where}: {key}: {value!r:.60} given, allowed: a number, {low:g} to {high:g}")
        return value

    def pixels(key: str, default: tuple[float, ...], low: float) -> Any:
        values = (preprocessor or {}).get(key, default)
        if not isinstance(values, list | tuple) or len(values) != 3:
            raise PetvrError(f"{where}: {key} beside it: {values!r:.60} given, allowed: three numbers, red first")
        return tuple(number(value, f"{key} beside it", low, 1) for value in values)

    def tower(section: dict[str, Any], like: Tower) -> Tower:
        return Tower(
            width=whole(section, "hidden_size", like.width),
            layers=whole(section, "num_hidden_layers", like.layers, high=1_000),
            heads=whole(section, "num_attention_heads", like.heads),
            mlp=whole(section, "intermediate_size", like.mlp),
            act=section.get("hidden_act", like.act),
            eps=number(section.get("layer_norm_eps", like.eps), "layer_norm_eps", 1e-12, 0.1),
        )

    vocab = whole(text, "vocab_size", _B.vocab, high=10**7)
    eot = whole(text, "eos_token_id", _B.eot, low=0, high=10**7)
    config = ClipConfig(
        vision=tower(vision, _B.vision),
        text=tower(text, _B.text),
        image=whole(vision, "image_size", _B.image),
        patch=whole(vision, "patch_size", _B.patch),
        positions=whole(text, "max_position_embeddings", _B.positions),
        vocab=vocab,
        eot=vocab - 1 if eot == LEGACY_EOS else eot,
        embed=whole(data, "projection_dim", _B.embed),
        logit_scale=number(data.get("logit_scale_init_value", _B.logit_scale), "logit_scale_init_value", -10, 10),
        mean=pixels("image_mean", MEAN, 0),
        std=pixels("image_std", STD, 1e-3),
    )
    for name, size in (("vision_config", config.vision), ("text_config", config.text)):
        if size.width % size.heads:
            raise PetvrError(f"{where}: {name}: hidden_size {size.width} is no multiple of {size.heads} heads")
        if size.act not in ("quick_gelu", "gelu"):
            raise unknown(f"{name}.hidden_act", str(size.act), ("quick_gelu", "gelu"), where)
    if config.image % config.patch:
        raise PetvrError(
            f"{where}: vision_config: image_size {config.image} is no multiple of patch_size {config.patch}"
        )
    if config.eot >= config.vocab:
        raise PetvrError(f"{where}: text_config.eos_token_id: {config.eot} is outside the vocabulary of {config.vocab}")
    return config


def _json(path: Path) -> dict[str, Any]:
    try:
        return read_json(path, dict)
    except PetvrError as error:
        raise PetvrError(f"{error}; a weights folder holds config.json and model.safetensors") from error
