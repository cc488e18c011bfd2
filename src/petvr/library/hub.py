"""A shared folder to the hub, with the token of the user's own login; and from it, without anything that could run."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from petvr.errors import PetvrError, first_line
from petvr.library.backbone import HUB_ID
from petvr.library.given import given_path
from petvr.library.peft_format import CONFIG, TENSORS
from petvr.library.shared_folder import ADAPTER, CARD, DESCRIPTION, SharedModel

CLIP_FILES = ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json")
FILES = (DESCRIPTION, ADAPTER, TENSORS, CONFIG, CARD, *CLIP_FILES, "tokenizer_config.json", "special_tokens_map.json",
         "vocab.json", "merges.txt")  # fmt: skip


def push_folder(folder: str | PathLike[str], hub_id: str, *, private: bool = True, token: str | None = None) -> str:
    """Upload a folder that `petvr export` wrote to the repository `owner/name`, made if it is not there; its address.

    private: of a repository that is made now. token: None takes the one of `hf auth login` or HF_TOKEN.
    Raises PetvrError for a folder that is none, and with what the hub says.
    """
    from huggingface_hub import HfApi

    path = given_path("folder", folder)
    SharedModel.read(path)
    if not isinstance(hub_id, str) or not HUB_ID.fullmatch(hub_id):
        raise PetvrError(f"{hub_id}: no hub id; one is owner/name")
    others = sorted(one.name for one in path.iterdir() if one.name not in FILES)
    if others:
        raise PetvrError(f"{path / others[0]}: was not written by export; only what export wrote is pushed")
    api = HfApi(token=token)
    try:
        api.create_repo(hub_id, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=hub_id, folder_path=path, commit_message="Exported by petvr", allow_patterns=list(FILES)
        )
    except Exception as error:  # network, login and validation errors have no common base
        raise PetvrError(f"{hub_id}: the hub does not take it: {first_line(error)[:200]}") from error
    return f"{api.endpoint}/{hub_id}"


def brought_shared_folder(hub_id: str, revision: str | None, token: str | None) -> Path:
    """The files of a shared model in the hub's cache; nothing else is brought."""
    from huggingface_hub import HfApi

    wanted = [DESCRIPTION, ADAPTER, TENSORS, CONFIG, *CLIP_FILES]
    try:
        folder = Path(HfApi(token=token).snapshot_download(hub_id, revision=revision, allow_patterns=wanted))
    except Exception as error:  # network, login and cache errors have no common base
        raise PetvrError(
            f"{hub_id}: no folder here, and the hub does not give it: {first_line(error)[:200]}"
        ) from error
    if not (folder / DESCRIPTION).is_file():
        raise PetvrError(f"{hub_id}: holds no {DESCRIPTION}, so it is no model that petvr exported")
    return folder
