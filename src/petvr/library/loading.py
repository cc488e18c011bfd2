"""`petvr.load`: a run's folder, a shared folder or a hub id to a model that encodes and scores."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from petvr import methods, similarity
from petvr.clip import weights
from petvr.clip.tokenizer import load_tokenizer
from petvr.clip.towers import Clip
from petvr.data.frames.build import store_settings
from petvr.errors import PetvrError, unknown
from petvr.library import peft_format, shared_folder
from petvr.library.backbone import HUB_ID, PUBLISHED, Backbone, find_backbone, tensors_digest
from petvr.library.given import given_path
from petvr.library.hub import brought_shared_folder
from petvr.library.shared_folder import ADAPTER, DESCRIPTION, SharedModel, read_tensors, require_fitting
from petvr.library.text_video import TextVideoModel, digest_of
from petvr.result import Result
from petvr.spec import RunSpec, method_id
from petvr.training.determinism import usable_device
from petvr.training.model import Model, model_on
from petvr.training.options import StartTensors

DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "clip4clip_fp16"}
RESULT = "result.json"
STATES = "`petvr show RUN` says how far one is"


def load_model(
    source: str | PathLike[str],
    *,
    device: str | None = None,
    dtype: Literal["float32", "float16", "bfloat16"] | None = None,
    backbone: str | PathLike[str] | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> TextVideoModel:
    """A trained model from a run's folder, a folder that `petvr export` wrote, or the hub id of such a folder.

    A folder that exists always wins over a hub id. device: None takes a GPU where there is one. dtype: of the towers'
    arithmetic; None keeps what the run was trained with. backbone: the folder or hub id of its CLIP, where it lies
    neither beside the run nor below results/weights, nor can be had from the hub. revision, token: for the hub.
    Nothing that is read is ever executed. Raises PetvrError with what is wrong, and with what.
    """
    if dtype is not None and (not isinstance(dtype, str) or dtype not in DTYPES):
        raise unknown("dtype", str(dtype), DTYPES)
    folder = given_path("source", source)
    if folder.name in (RESULT, DESCRIPTION) and folder.is_file():
        folder = folder.parent
    if folder.is_dir() and (folder / RESULT).is_file():
        model = _run(folder, device, dtype, backbone)
    elif (folder / DESCRIPTION).is_file():
        model = _shared(folder, str(source), device, dtype, backbone)
    elif folder.exists():
        raise PetvrError(
            f"{folder}: holds neither {RESULT} of a finished run ({STATES}) nor {DESCRIPTION} of a shared model"
        )
    elif HUB_ID.fullmatch(str(source)):
        model = _shared(brought_shared_folder(str(source), revision, token), str(source), device, dtype, backbone)
    else:
        raise PetvrError(f"{source}: no folder of a run ({STATES}), no shared folder, and no hub id (owner/name)")
    if changed := changed_code(model.spec):
        model.note(f"its code has changed since the training ({', '.join(changed)}): features may differ")
    return model


def _run(folder: Path, device: str | None, dtype: str | None, given: str | PathLike[str] | None) -> TextVideoModel:
    result = Result.read(folder / RESULT)
    spec = result.spec
    state: Mapping[str, Tensor] = {}
    if spec.train:
        result.check_file(folder, ADAPTER)
        state = read_tensors(folder / ADAPTER)
    reference = Backbone(
        name=spec.backbone, hub_id=PUBLISHED.get(spec.backbone, ""), digest=result.provenance.weights_digest
    )
    clip, where = find_backbone(reference, given, results_of(folder, spec))
    return opened_model(spec, (clip, where), state, folder / ADAPTER, reference.digest, device, dtype)


def results_of(folder: Path, spec: RunSpec) -> Path | None:
    """The folder `results` that a run lies in: results/runs/<id>; None for a run that was moved elsewhere."""
    parts, own = folder.resolve().parts, Path("runs", spec.id).parts
    return Path(*parts[: -len(own)]) if parts[-len(own) :] == own else None


def _shared(
    folder: Path, source: str, device: str | None, dtype: str | None, given: str | PathLike[str] | None
) -> TextVideoModel:
    shared = SharedModel.read(folder)
    spec, path = shared.spec, folder / ADAPTER
    for part in methods.split(spec.method):
        methods.declared(part)
    similarity.declared(spec.recipe.similarity)
    if shared.peft:
        path = folder / peft_format.TENSORS
    state = {} if shared.adapter is None else shared_folder.read_adapter(path, shared.adapter)
    if shared.backbone is None:
        clip, where, digest = weights.load_clip(folder), folder, weights.digest(folder)
    else:
        (clip, where), digest = find_backbone(shared.backbone, given, None), shared.backbone.digest
    if shared.peft:
        setting, state = peft_format.read_peft(folder, clip.config)
        if spec.recipe.logit_scale == "train":  # which no feature and no score here depends on
            state["clip.logit_scale"] = clip.logit_scale
        spec = spec.model_copy(update={"setting": setting})
    if clip.image_size != shared.image_size:
        raise PetvrError(
            f"{where}: reads pictures of {clip.image_size} px, the model was trained on {shared.image_size}"
        )
    model = opened_model(spec, (clip, where), state, path, digest, device, dtype)
    if model.tokenize.digest() != shared.tokenizer:
        raise PetvrError(f"{where / 'tokenizer.json'}: another vocabulary than the model was trained with")
    model.sentences, model.source = tuple(shared.sentences), source
    model.name = shared.merged_from or model.name
    return model


def opened_model(
    spec: RunSpec,
    clip: tuple[Clip, Path],
    state: Mapping[str, Tensor],
    path: Path,
    clip_digest: str,
    device: str | None,
    dtype: str | None,
) -> TextVideoModel:
    """The spec's method on a CLIP, whose folder has the tokenizer; `path` is where the trained tensors `state` lay."""
    used = spec
    if dtype is not None:
        used = spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"precision": DTYPES[dtype]})})
    model = model_on(clip[0], used, usable_device(device))
    if spec.train:
        restore(model, state, path)
    digest = digest_of(spec.digest(), tensors_digest(state), clip_digest, used.recipe.precision)
    tokenize = load_tokenizer(clip[1])
    return TextVideoModel(model, tokenize, spec, digest=digest, source=path.parent, clip_folder=clip[1])


def restore(model: Model, state: Mapping[str, Tensor], path: Path) -> None:
    """Put trained tensors into the model. Raises PetvrError where names or shapes are not the method's."""
    expected = {name: parameter.shape for name, (parameter, _) in model.trained.items()}
    require_fitting(path, state, expected, "the method as it is today, or its CLIP; train the run again")
    model.restore(dict(state))


def changed_code(spec: RunSpec) -> list[str]:
    """Parts whose VERSION was another when the run was trained; those it does not name are left out."""
    today = {f"methods/{part}": methods.version(part) for part in methods.split(spec.method)}
    today[f"similarity/{spec.recipe.similarity}"] = similarity.version(spec.recipe.similarity)
    frames = store_settings(spec.recipe.sampler, spec.recipe.frames, 1, spec.recipe.picture).versions
    names = {"samplers": "sampler", "decode": "decode", "preprocess": "preprocess"}
    today |= {f"frames/{name}": frames[key] for name, key in names.items()}
    return [name for name, version in today.items() if spec.versions.get(name, version) != version]


def start_tensors(source: str | PathLike[str], spec: RunSpec, weights_folder: Path, train: bool) -> StartTensors:
    """What a shared folder, a hub id or a folder in PEFT's format holds, for a run of one's own to begin with or show.

    Raises PetvrError where it is of another method, setting or CLIP than the run, with the right spelling of the run.
    """
    folder = Path(source)
    if not folder.exists() and HUB_ID.fullmatch(str(source)):
        folder = brought_shared_folder(str(source), None, None)
    if not any((folder / name).is_file() for name in (DESCRIPTION, peft_format.CONFIG)):  # before weights are read
        raise PetvrError(f"{folder}: holds neither {DESCRIPTION} of a shared model nor {peft_format.CONFIG} of PEFT's")
    clip = weights.load_clip(weights_folder)
    path, setting, method = folder / ADAPTER, {}, "lora"
    if (folder / DESCRIPTION).is_file():
        shared = SharedModel.read(folder)
        if shared.backbone is None or shared.adapter is None:
            raise PetvrError(f"{folder}: holds a whole CLIP; name it in `weights` of the configuration instead")
        own = tensors_digest(dict(clip.named_parameters()))
        if own != shared.backbone.tensors:
            raise PetvrError(f"{folder}: made for another CLIP ({shared.backbone.name}) than {weights_folder}")
        method, setting = shared.spec.method, dict(shared.spec.setting)
        path = folder / (peft_format.TENSORS if shared.peft else ADAPTER)
        state = shared_folder.read_adapter(path, shared.adapter)
    if path.name == peft_format.TENSORS or not (folder / DESCRIPTION).is_file():
        path = folder / peft_format.TENSORS
        setting, state = peft_format.read_peft(folder, clip.config)
    if method != spec.method or methods.settings(method, setting) != methods.settings(spec.method, spec.setting):
        right = method_id(method, methods.shortest_setting(method, setting))
        raise PetvrError(f"{folder}: holds {right}, the run is of {method_id(spec.method, spec.setting)}")
    if "clip.logit_scale" not in state and spec.recipe.logit_scale == "train":
        state["clip.logit_scale"] = clip.logit_scale.detach()
    model = model_on(clip, spec, torch.device("cpu"))
    expected = {name: parameter.shape for name, (parameter, _) in model.trained.items()}
    require_fitting(path, state, expected, "the run's recipe, which trains something else")
    return StartTensors(state, str(source), tensors_digest(state), train)
