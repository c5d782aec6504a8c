"""`python -m tests.describe_settings` writes what settings mean into config/pgfolio.toml and the manual.

Descriptions stand once, in config/settings.py, and defaults once, in config/pgfolio.toml.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgfolio.config.loading import OUTSIDE
from pgfolio.config.section import Section
from pgfolio.config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

FOLDER = Path(__file__).resolve().parents[1] / "config"
DEFAULTS, MANUAL = FOLDER / "pgfolio.toml", FOLDER / "README.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"
KEY = re.compile(r"(?P<setting>(?:# )?(?P<key>[a-z_]+) = (?:\"[^\"]*\"|[^#\n\"]+?))(?:\s+# .*)?")


def sections() -> Iterator[tuple[str, type[Section]]]:
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield name, field.annotation


def defaults_text() -> str:
    """pgfolio.toml with a comment behind each setting."""
    known = dict(sections())
    section: type[Section] | None = None
    lines = []
    for line in DEFAULTS.read_text(encoding="utf-8").splitlines():
        if header := re.match(r"\[(\w+)\]", line):
            section = known.get(header[1])
            about = section.__doc__ if section else Settings.model_fields[header[1]].description
            lines.append(f"{header[0]}  # {about}")
        elif section is not None and (match := KEY.fullmatch(line)) and match["key"] in section.model_fields:
            lines.append(f"{match['setting']}  # {section.model_fields[match['key']].description}")
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def table() -> str:
    """The manual's table: variable, default, description."""
    shipped = tomllib.loads(DEFAULTS.read_text(encoding="utf-8"))
    rows = ["| setting | default | means |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        if field.annotation is not None and name not in dict(sections()) and field.description:
            variable = name.upper() if name in OUTSIDE.values() else f"PGFOLIO_{name.upper()}"
            rows.append(_row(variable, "" if name == "prices" else None, field))
    for name, section in sections():
        rows.append(f"| **`[{name}]`** | | {section.__doc__} |")
        for key, field in section.model_fields.items():
            rows.append(_row(f"PGFOLIO_{name.upper()}__{key.upper()}", shipped[name].get(key), field))
    return "\n".join(rows) + "\n"


def _row(variable: str, default: Any, field: FieldInfo) -> str:
    shown = "" if default in (None, "") else f"`{default}`"
    return f"| `{variable}` | {shown} | {field.description} |"


def manual_text() -> str:
    before, rest = MANUAL.read_text(encoding="utf-8").split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


def main() -> None:
    DEFAULTS.write_text(defaults_text(), encoding="utf-8")
    MANUAL.write_text(manual_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
