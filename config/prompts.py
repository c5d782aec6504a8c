"""Named prompts from prompts.yaml, checked when they are loaded, and loaded again when they are edited."""

from __future__ import annotations

import logging
import string
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pgfolio.config.errors import ConfigError
from pgfolio.config.files import read_regular
from pgfolio.config.names import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG = logging.getLogger("pgfolio.config.prompts")
FILE = Path(__file__).with_name("prompts.yaml")
DEFAULT = "answer"
KNOWN_VARIABLES = ("question", "context")

Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template for the chat model. `refusal` is what the model says where the documents hold no answer."""

    name: str
    version: int
    system: str
    user: str
    variables: tuple[str, ...]
    refusal: str

    def render(self, **values: str) -> tuple[str, str]:
        """The system's and the user's message. Values are put in as they are: braces in them mean nothing."""
        return self.system.format(**values), self.user.format(**values)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    version: Annotated[int, Field(ge=1)]
    system: Text
    user: Text
    variables: list[str]
    refusal: Text


class Prompts:
    """The prompts of a file, read again when it is edited. A broken edit leaves those that were there, and `problem`
    says what is wrong with it. Used by one thread at a time."""

    def __init__(self, path: Path = FILE) -> None:
        """Raises ConfigError: there are none yet to go on with."""
        self.path = path
        self.problem = ""
        self._read = _signature(path)
        self._prompts = load_prompts(path)

    def current(self) -> Mapping[str, Prompt]:
        """All prompts by name, as the file has them now. A look takes 3 us."""
        now = _signature(self.path)
        if now != self._read:
            self._read = now
            try:
                self._prompts, self.problem = load_prompts(self.path), ""
            except ConfigError as error:
                self.problem = f"{error}: the prompts as they were before are used"
                LOG.warning("%s", self.problem)
        return self._prompts


def load_prompts(path: Path = FILE) -> dict[str, Prompt]:
    """All prompts by name. Raises ConfigError that names the file, the prompt and what is wrong with it."""
    try:
        entries = yaml.safe_load(read_regular(path).decode())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(entries, dict) or DEFAULT not in entries:
        raise ConfigError(f"{path}: there must be a prompt named {DEFAULT!r}")
    return {
        check_name(f"prompt of {path}", str(name)): _prompt(path, str(name), entry)
        for name, entry in entries.items()
    }


def _signature(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _prompt(path: Path, name: str, entry: object) -> Prompt:
    where = f"{path}: prompt {name!r}"
    try:
        read = _Entry.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the prompt"
        raise ConfigError(f"{where}: {field}: {first['msg']}") from None
    used = _used(where, "system", read.system) | _used(where, "user", read.user)
    declared = set(read.variables)
    if strange := sorted((used | declared) - set(KNOWN_VARIABLES)):
        raise ConfigError(f"{where}: unknown variable {strange[0]!r}; known are {', '.join(KNOWN_VARIABLES)}")
    if missing := sorted(used - declared):
        raise ConfigError(f"{where}: uses {missing[0]!r}, which its variables do not name")
    if unused := sorted((declared | set(KNOWN_VARIABLES)) - used):
        raise ConfigError(f"{where}: does not use the variable {unused[0]!r}")
    if read.refusal not in read.system + read.user:
        raise ConfigError(
            f"{where}: the refusal {read.refusal!r} is not in its text: the model must be told of it"
        )
    return Prompt(
        name=name,
        version=read.version,
        system=read.system,
        user=read.user,
        variables=tuple(read.variables),
        refusal=read.refusal,
    )


def _used(where: str, field: str, template: str) -> set[str]:
    try:
        fields = [
            (name, spec, conversion)
            for _, name, spec, conversion in string.Formatter().parse(template)
            if name is not None
        ]
    except ValueError as error:
        raise ConfigError(f"{where}: {field}: {error}; a brace that stands for itself is doubled") from None
    for name, spec, conversion in fields:
        if not name.isidentifier() or spec or conversion:
            raise ConfigError(f"{where}: {field}: {{{name}}} is not a plain variable; a brace is doubled")
    return {name for name, _, _ in fields}
