"""`petvr export`: a finished run to a folder that somebody else can load, and nothing else in it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

from petvr import atomic
from petvr.clip import weights
from petvr.errors import PetvrError
from petvr.library import card, merge, peft_format
from petvr.library.backbone import HUB_ID, PUBLISHED, Backbone, tensors_digest
from petvr.library.given import LICENCE, given_path
from petvr.library.loading import RESULT, load_model
from petvr.library.shared_folder import ADAPTER, CARD, SharedModel, read_tensors
from petvr.library.text_video import TextVideoModel
from petvr.result import Result, StoredFile
from petvr.training.candidate_texts import candidate_captions

BESIDE = (  # of a CLIPModel folder, all but the weights: taken over byte for byte
    "config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "vocab.json", "merges.txt",
)  # fmt: skip


def export_run(
    run: str | PathLike[str],
    to: str | PathLike[str],
    *,
    merge: bool = False,
    peft: bool = False,
    licence: str = "mit",
    hub_id: str = "",
    captions: Callable[[], Sequence[str]] | None = None,
    backbone: str | PathLike[str] | None = None,
) -> Path:
    """Write what a finished run learnt to the new folder `to`: petvr.json, the tensors, and a model card README.md.

    merge: a whole CLIPModel folder instead, for methods that fold into CLIP. peft: LoRA in PEFT's adapter format.
    hub_id: of the run's CLIP; "" takes that of OpenAI's, for the three papers' sizes. captions: gives the training
    captions, of which some methods look at a fixed sample. backbone: the folder of the run's CLIP, if it is elsewhere.
    Raises PetvrError where `to` holds anything, and for methods that cannot be written in the form asked for.
    """
    if merge and peft:
        raise PetvrError("export: either merge or peft, not both")
    folder, out = given_path("run", run), given_path("to", to)
    if not isinstance(licence, str) or not LICENCE.fullmatch(licence):
        raise PetvrError(f"licence: {licence!r:.60} given, allowed: a name of the hub's, as mit or apache-2.0")
    if hub_id != "" and not (isinstance(hub_id, str) and HUB_ID.fullmatch(hub_id)):
        raise PetvrError(f"hub_id: {hub_id!r:.60} given, allowed: owner/name")
    folder = folder.parent if folder.name == RESULT else folder
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PetvrError(f"{out}: is there already; export writes a new folder")
    if not (folder / RESULT).is_file():
        raise PetvrError(f"{folder}: no {RESULT} of a finished run in this folder")
    result = Result.read(folder / RESULT)
    model = load_model(folder, device="cpu", dtype="float32" if merge else None, backbone=backbone)
    source = Path(model.clip_folder)
    shared = _description(model, result, source, hub_id or PUBLISHED.get(result.spec.backbone, ""), captions)
    kind: card.Kind = "merged" if merge else "peft" if peft else "petvr"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as part:
            shared = WRITERS[kind](Path(part), shared, model, folder, source)
            shared.write(Path(part))
            text = card.card_text(shared, result, card.intervals_of(folder, result), kind, licence)
            atomic.write_text(Path(part) / CARD, text)
            Path(part).chmod(0o755)
            shutil.copytree(part, out, dirs_exist_ok=True)
    except OSError as error:
        raise PetvrError(f"{out}: cannot be written: {error.strerror or error}") from error
    return out


def _description(
    model: TextVideoModel,
    result: Result,
    source: Path,
    hub_id: str,
    captions: Callable[[], Sequence[str]] | None,
) -> SharedModel:
    spec = result.spec
    clip = weights.load_clip(source)  # not the model's, which is trained
    reference = Backbone(
        name=spec.backbone,
        hub_id=hub_id,
        digest=result.provenance.weights_digest,
        tensors=tensors_digest(dict(clip.named_parameters())),
    )
    needed = model.model.adapted.needs_texts
    sentences: list[str] = []
    if needed == "fixed":
        if captions is None:
            raise PetvrError(f"{spec.id}: its method looks at a sample of training captions: export needs captions=")
        sentences = candidate_captions(needed, captions()) or []
    return SharedModel(
        petvr=result.provenance.petvr,
        spec=spec,
        backbone=reference,
        image_size=model.image_size,
        tokenizer=model.tokenize.digest(),
        data=result.data.digest,
        adapter=None,
        sentences=sentences,
        looks_at_sentences=bool(needed),
    )


def _write_adapter(out: Path, shared: SharedModel, model: TextVideoModel, folder: Path, source: Path) -> SharedModel:
    from safetensors.torch import save_file

    state = read_tensors(folder / ADAPTER) if shared.spec.train else {}
    save_file(state, out / ADAPTER, metadata=shared.metadata())
    return shared.model_copy(update={"adapter": StoredFile.of(out / ADAPTER)})


def _write_merged(out: Path, shared: SharedModel, model: TextVideoModel, folder: Path, source: Path) -> SharedModel:
    """The merged CLIP is its own backbone, under a method that does nothing."""
    clip = merge.merged_clip(model)
    weights.save(clip, out)
    for name in BESIDE:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    spec, name = shared.spec, shared.spec.id
    hub_id = shared.backbone.hub_id if shared.backbone else ""
    kept = {key: version for key, version in spec.versions.items() if not key.startswith("methods/")}
    plain = spec.model_copy(
        update={
            "method": "zero_shot",
            "setting": {},
            "defaults": {},
            "train": False,
            "versions": kept,
            "recipe": spec.recipe.model_copy(update={"precision": "fp32"}),
        }
    )
    return shared.model_copy(update={"spec": plain, "backbone": None, "merged_from": name, "merged_into": hub_id})


def _write_peft(out: Path, shared: SharedModel, model: TextVideoModel, folder: Path, source: Path) -> SharedModel:
    peft_format.write_peft(out, model, shared)
    return shared.model_copy(update={"adapter": StoredFile.of(out / peft_format.TENSORS), "peft": True})


WRITERS = {"petvr": _write_adapter, "merged": _write_merged, "peft": _write_peft}
