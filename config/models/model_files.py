"""Where a transformer's files are: in a folder, or fetched once from the model hub. What they say of the model is for
model_card.py to read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgfolio.config.environment import temporary_environment
from pgfolio.config.errors import ConfigError

WEIGHTS: Final = "model.onnx"
TOKENIZER: Final = "tokenizer.json"
FOLDERS: Final = ("", "onnx")
"""Where in a model's folder its weights may be."""

ORGANISATION: Final = "sentence-transformers"
"""Of a name on the hub that has none, as its own library has it."""

HUB_NAME: Final = re.compile(r"(?:[\w.-]+/)?[\w.-]+")
HUB_FILE: Final = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)/(?P<file>.+\.onnx)")
DESCRIPTIONS: Final = ("*.json", "*/config.json")
"""What is fetched beside the weights."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """`name`: by which the same files are found again; `folder`: of the tokenizer and of what describes the model."""

    name: str
    weights: Path
    folder: Path


def is_local(name: str) -> bool:
    """Whether it is a folder or a file that is there."""
    return bool(name) and (path := Path(name).expanduser()).exists() and (path.is_dir() or _is_weights(path))


def is_hub_name(name: str) -> bool:
    """Whether it may be a model's on the hub."""
    return bool(HUB_FILE.fullmatch(name) or HUB_NAME.fullmatch(name)) and not name.startswith(".")


def locate(name: str, setting: str) -> ModelFiles:
    """The files of a model: a folder, an ONNX file in one, or a name on the hub, which may end with such a file.
    Raises ConfigError, which names the setting and what lacks."""
    if is_local(name):
        return _in_folder(Path(name).expanduser().absolute(), setting)
    if match := HUB_FILE.fullmatch(name):
        return _from_hub(name, match["name"], match["file"], setting)
    if HUB_NAME.fullmatch(name) and not name.startswith("."):
        return _from_hub(name, name if "/" in name else f"{ORGANISATION}/{name}", None, setting)
    raise ConfigError(f"{setting}: there is no folder {name!r}")


def _in_folder(path: Path, setting: str) -> ModelFiles:
    folder = path if path.is_dir() else path.parent
    if path.is_dir() and path.name == "onnx" and not (path / TOKENIZER).exists():
        folder = path.parent
    weights = path if _is_weights(path) else _only_weights(folder, setting)
    beside = next((at for at in (folder, folder.parent) if (at / TOKENIZER).is_file()), None)
    lacking = [name for name, there in ((WEIGHTS, weights), (TOKENIZER, beside)) if there is None]
    if weights is None or beside is None:
        raise ConfigError(
            f"{setting}: the folder {folder} has no {' and no '.join(lacking)}; a transformer needs both"
        )
    return ModelFiles(str(path), weights, beside)


def _only_weights(folder: Path, setting: str) -> Path | None:
    """By its usual name, or the only ones that there are."""
    for inner in FOLDERS:
        if (folder / inner / WEIGHTS).is_file():
            return folder / inner / WEIGHTS
    others = sorted(path for inner in FOLDERS for path in (folder / inner).glob("*.onnx") if path.is_file())
    if len(others) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in others)
        raise ConfigError(
            f"{setting}: the folder {folder} has several models, {names}: name one of these files"
        )
    return others[0] if others else None


def _from_hub(name: str, repository: str, file: str | None, setting: str) -> ModelFiles:
    """What is there already is not asked for again: a model does not change while it is in use."""
    weights = [file] if file else [WEIGHTS, f"onnx/{WEIGHTS}"]
    patterns = [*DESCRIPTIONS, *weights, *(f"{one}_data" for one in weights)]
    lacking = ""
    for only_cached in (True, False):  # the cache may have been filled for something else, or in part
        folder = _snapshot(repository, patterns, setting, only_cached=only_cached)
        if folder is not None:
            at = next((folder / one for one in weights if (folder / one).is_file()), None)
            if at is not None and (folder / TOKENIZER).is_file():
                return ModelFiles(name, at, folder)
            lacking = TOKENIZER if at else weights[0]
    raise ConfigError(
        f"{setting}: {repository!r} has no {lacking} on the model hub, so that it cannot be run here"
    )


def _snapshot(
    repository: str, patterns: list[str], setting: str, *, only_cached: bool = False
) -> Path | None:
    """The repository's folder in the hub's own cache; None: not there. Raises ConfigError."""
    with temporary_environment(HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_PROGRESS_BARS="1"):
        from huggingface_hub import errors, snapshot_download  # noqa: PLC0415 -- slow to import

    try:
        return Path(snapshot_download(repository, allow_patterns=patterns, local_files_only=only_cached))
    except errors.RepositoryNotFoundError as error:
        raise ConfigError(f"{setting}: the model hub has no {repository!r}, or not for everybody") from error
    except (errors.LocalEntryNotFoundError, errors.IncompleteSnapshotError) as error:
        if only_cached:
            return None
        raise ConfigError(_unreachable(repository, setting)) from error
    except (OSError, ValueError, errors.HfHubHTTPError) as error:
        raise ConfigError(f"{_unreachable(repository, setting)} ({_first_line(error)})") from error


def _unreachable(repository: str, setting: str) -> str:
    return (
        f"{setting}: {repository!r} is no folder here, and the model hub cannot be reached to fetch it: name a "
        f"folder with {WEIGHTS} and {TOKENIZER}"
    )


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _is_weights(path: Path) -> bool:
    return path.suffix == ".onnx" and path.is_file()
