"""A source that is kept in the configuration file."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import AfterValidator, Field

from pgfolio.config.names import check_name
from pgfolio.config.section import Section


def _check_collection(name: str) -> str:
    """Empty: it is called as its source is."""
    return check_name("collection", name) if name else name


class SourceRules(Section):
    """A source kept in the configuration file, as `[[sources]]`."""

    name: Annotated[str, AfterValidator(partial(check_name, "source", slash=False))]
    root: Annotated[str, Field(min_length=1)]
    collection: Annotated[str, AfterValidator(_check_collection)] = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
