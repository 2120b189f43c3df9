"""Save models as folders and Hugging Face repositories, and read them, with `huggingface_hub`.

A folder has ``config.json``, the weights, and a model card. A model with one network has
``model.safetensors``; one with a network per task has a file for each, ``scene.safetensors`` and so
on. The configuration has the authoritative spec and the digest of every weights file, so that a
folder that was only partly copied or overwritten is refused.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypedDict

from dcasenet.atomic import write_bytes
from dcasenet.errors import ChecksumError, OfflineError, WeightsError
from dcasenet.spec import TASKS, ModelSpec, Task, WeightsFile
from dcasenet.text import json_text
from dcasenet.types import check_flags
from dcasenet.weights import checkpoint
from dcasenet.weights.builder import tensors_of
from dcasenet.weights.cache import HUB, cache_folder
from dcasenet.weights.checksum import file_digest, verify
from dcasenet.weights.model_card import model_card
from dcasenet.weights.sources import Access
from dcasenet.weights.transfer import http_client

if TYPE_CHECKING:
    from dcasenet.inference.model import SoundModel


# Most bytes of a configuration; one with a thousand labels has 0.1 MB.
LARGEST_CONFIG = 16 << 20
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


@dataclass(frozen=True)
class Config:
    """The content of ``config.json``.

    Attributes:
        spec: Specification of the model.
        digests: Name of a weights file → its digest, ``"sha256:…"``.
    """

    spec: ModelSpec
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def weights(self) -> dict[Task | None, str]:
        """Task → name of its weights file; None → that of a model with one network."""
        if not self.spec.members:
            return {None: WEIGHTS}
        # Nothing else in the file is used as a path.
        return {task: f"{task}.safetensors" for task in TASKS if task in self.spec.members}


def save_folder(
    model: SoundModel, folder: Path, address: str | None = None, *, overwrite: bool = False
) -> None:
    """Write a model to a folder that `dcasenet.load` reads.

    Args:
        model: The model.
        folder: Created if it does not exist; files that this function wrote before are replaced.
        address: Argument of `dcasenet.load` in the card; by default the folder's name.
        overwrite: Whether to replace other files of the same names as well.

    Raises:
        WeightsError: The folder has other files of these names, it cannot be written, or a
            member cannot be loaded.
    """
    names = [*Config(model.spec).weights.values(), CARD, CONFIG]
    try:
        check_folder(folder, names, overwrite)
        folder.mkdir(parents=True, exist_ok=True)
        # Written beside an existing model, which stays complete if the disk is full.
        with TemporaryDirectory(dir=folder, prefix=".saving-") as draft:
            _write(model, Path(draft), address or f"{folder.name}/")
            # The configuration is moved last, since it has the digests of the weights.
            for name in names:
                Path(draft, name).replace(folder / name)
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(
            f"The model cannot be written to {folder}: {error.strerror or error}. Existing files "
            f"were not changed."
        ) from error


def _write(model: SoundModel, folder: Path, address: str) -> None:
    spec, networks = model.spec, model.networks
    for task, name in Config(spec).weights.items():
        tensors = tensors_of(model.frontend, networks[task])
        own = spec if task is None else member_spec(spec, task)
        checkpoint.write(folder / name, tensors, own)
    write_bytes(folder / CARD, model_card(spec, address).encode())
    config = {
        "library_name": "dcasenet",
        "spec": spec.to_dict(),
        # Includes the card's digest, so that an edited card is not replaced.
        "digests": {
            name: file_digest(folder / name) for name in (*Config(spec).weights.values(), CARD)
        },
    }
    text = json_text(config, indent=2) + "\n"
    write_bytes(folder / CONFIG, text.encode())


def check_folder(
    folder: Path, names: Sequence[str] = (WEIGHTS, CARD, CONFIG), overwrite: bool = False
) -> None:
    """Refuse to replace files that `save_folder` did not write, or that were changed since.

    Args:
        folder: The folder, which need not exist.
        names: Names of the files to be written.
        overwrite: Whether to replace them anyway.

    Raises:
        WeightsError: A file is from another source.
        ValueError: `overwrite` is neither True nor False.
        OSError: A file cannot be read.
    """
    check_flags(overwrite=overwrite)
    taken = [name for name in names if os.path.lexists(folder / name)]
    if overwrite or not taken:
        return
    written: Mapping[str, str] = {}
    with contextlib.suppress(WeightsError):
        config = read_config(folder)
        written = config.digests if config is not None else {}
    for name in taken:
        path = folder / name
        ours = CARD in written if name == CONFIG else name in written
        if ours and name != CONFIG:
            ours = path.is_file() and file_digest(path) == written[name]
        if not ours:
            raise refusal(path)


def refusal(path: Path) -> WeightsError:
    """Return the error for a file that is not replaced."""
    return WeightsError(
        f"{path} exists, and dcasenet did not write it, or it has been changed since. Give "
        f"another name, or overwrite=True (--overwrite) to replace it."
    )


def member_spec(spec: ModelSpec, task: Task) -> ModelSpec:
    """Return the spec of one member of a composed model, as stored in its own file."""
    metrics: dict[str, Mapping[str, float]] = {}
    if task in spec.metrics:
        metrics[task] = spec.metrics[task]
    return dataclasses.replace(
        spec,
        stage=spec.members[task],
        tasks=(task,),
        heads={name: kind for name, kind in spec.heads.items() if name == task},
        members={},
        metrics=metrics,
    )


def read_config(folder: Path) -> Config | None:
    """Read a folder's configuration; None if it has no configuration but a weights file.

    Raises:
        WeightsError: The folder has neither, or the configuration is damaged.
    """
    path = folder / CONFIG
    if not path.is_file():
        if (folder / WEIGHTS).is_file():
            return None
        raise WeightsError(
            f"{folder} has no model: it has neither {CONFIG} nor {WEIGHTS}. Give a folder "
            f"written by save_pretrained."
        )
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError(f"it has more than {LARGEST_CONFIG} bytes")
        values = json.loads(path.read_text("utf-8"))
        digests = dict(values["digests"])
        if not all(str(digest).startswith("sha256:") for digest in digests.values()):
            raise ValueError("a digest does not begin with 'sha256:'")
        return Config(ModelSpec.from_dict(values["spec"]), digests)
    except (ValueError, TypeError, KeyError, RecursionError, WeightsError) as error:
        raise WeightsError(
            f"{path} is not the configuration of a dcasenet model ({type(error).__name__}: "
            f"{error}). Give a folder or repository written by save_pretrained or push_to_hub."
        ) from error


def verified(folder: Path, config: Config, name: str) -> Path:
    """Return the path of a weights file, after verifying its digest in the configuration.

    Raises:
        ChecksumError: The digest differs.
        WeightsError: The file is missing.
    """
    path = folder / name
    if not path.is_file():
        raise WeightsError(f"{path} is missing, although {folder / CONFIG} lists it.")
    if name not in config.digests:
        raise WeightsError(f"{folder / CONFIG} has no digest of {name} under 'digests'.")
    verify(path, WeightsFile(digest=config.digests[name]), f"{folder / CONFIG}")
    return path


def save_pretrained(
    model: SoundModel, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> Path:
    """Write a model to a folder that `dcasenet.load` reads.

    Args:
        model: The model; members of a composed one that were never used are loaded.
        folder: Created if it does not exist; files that this function wrote before are replaced.
        overwrite: Whether to replace other files of the same names as well.

    Returns:
        The folder, with ``config.json``, the weights as safetensors and a model card ``README.md``.

    Raises:
        WeightsError: The folder has other files of these names, or cannot be written.
    """
    path = Path(folder).expanduser()
    save_folder(model, path, overwrite=overwrite)
    return path


class PushOptions(TypedDict, total=False):
    """Options of an upload; see `Push`."""

    commit_message: str | None
    private: bool | None
    token: str | bool | None
    revision: str | None
    create_pr: bool


@dataclass(frozen=True)
class Push:
    """An upload of a model; see `SoundModel.push_to_hub`."""

    repo_id: str
    commit_message: str | None = None
    private: bool | None = None
    token: str | bool | None = None
    revision: str | None = None
    create_pr: bool = False

    def __post_init__(self) -> None:
        check_flags(create_pr=self.create_pr)
        if self.private is not None:
            check_flags(private=self.private)


def push_to_hub(model: SoundModel, push: Push) -> str:
    """Upload a model to the Hugging Face Hub, in one commit; see `SoundModel.push_to_hub`.

    Raises:
        WeightsError: The Hub refuses the upload or cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=push.token)
    message = push.commit_message or f"DcaseNet {model.spec.name}, {model.spec.stage}"
    with TemporaryDirectory(prefix="dcasenet-") as folder:
        try:
            with _quiet(progress=True):
                made = api.create_repo(push.repo_id, private=push.private, exist_ok=True)
                if push.revision is not None and not push.create_pr:
                    api.create_branch(made.repo_id, branch=push.revision, exist_ok=True)
                save_folder(model, Path(folder), address=made.repo_id)
                commit = api.upload_folder(
                    repo_id=made.repo_id,
                    folder_path=folder,
                    commit_message=message,
                    revision=push.revision,
                    create_pr=push.create_pr,
                )
        except WeightsError:
            raise
        except _hub_errors() as error:
            raise WeightsError(
                f"{push.repo_id} cannot be uploaded to {api.endpoint}: {error} Check the name and "
                f"that your token may write there ('hf auth login')."
            ) from error
    return f"{made.repo_id}@{commit.oid}"


def download_repository(address: str, access: Access) -> Path:
    """Download a repository written by `push_to_hub` to the cache.

    Args:
        address: ``"org/name"`` or ``"org/name@revision"``: a branch, a tag or a commit.
        access: Cache folder, and whether downloading is allowed.

    Returns:
        The folder, as `read_config` accepts it.

    Raises:
        OfflineError: A file is not in the cache, and downloading is off.
        ChecksumError: A file does not have the digest in the repository's configuration.
        WeightsError: The repository does not exist, is not a model of this package, or cannot be
            reached.
    """
    repo, _, revision = address.partition("@")
    folder = _file(repo, revision or None, CONFIG, access).parent
    config = read_config(folder)
    if config is None:
        raise WeightsError(f"{address} has no {CONFIG}. Was it written by push_to_hub?")
    # The configuration's own commit, in case the repository changes meanwhile.
    commit = folder.name
    for name in config.weights.values():
        _file(repo, commit, name, access)
        try:
            verified(folder, config, name)
        except ChecksumError:
            if access.offline:
                raise
            _file(repo, commit, name, access, again=True)
    return folder


def _file(repo: str, revision: str | None, name: str, access: Access, again: bool = False) -> Path:
    """Return one file of a repository, from the cache or downloaded."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    root = cache_folder(access.cache_dir) / HUB
    address = f"{repo}@{revision}" if revision else repo
    url = f"{constants.ENDPOINT}/{repo}/resolve/{revision or 'main'}/{name}"
    try:
        with _quiet(access.progress):
            return Path(
                hf_hub_download(
                    repo,
                    name,
                    revision=revision,
                    cache_dir=root,
                    local_files_only=access.offline,
                    force_download=again or (access.again and not access.offline),
                    token=access.token,
                )
            )
    except LocalEntryNotFoundError as error:
        if access.offline:
            raise OfflineError(
                f"{address}: {name} is not on this machine, and downloading is switched off. "
                f"Looked in {root}. Load it once where there is a network, or download {url} and "
                f"the other files to a folder and load that."
            ) from error
        raise WeightsError(f"{address}: {url} cannot be reached: {error}") from error
    except _hub_errors() as error:
        raise WeightsError(
            f"{address}: {url} cannot be downloaded: {error} Nor is there a file or folder named "
            f"{address!r} here."
        ) from error


@contextlib.contextmanager
def _quiet(progress: bool) -> Iterator[None]:
    """Hide the bars of `huggingface_hub` where this package would not show one either."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    shown = progress and sys.stderr.isatty()
    if shown or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _hub_errors() -> tuple[type[Exception], ...]:
    """Return the errors of `huggingface_hub` for a bad name, a refusal, or a broken connection."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    return HfHubHTTPError, HFValidationError, http_client().HTTPError, OSError
