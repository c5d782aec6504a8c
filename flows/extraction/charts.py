"""The words and numbers of a chart or of a diagram, as they stand in an office file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgfolio.flows.extraction.package import child, children, descendants, local

if TYPE_CHECKING:
    from pgfolio.flows.extraction.writing import Writer


def write(root: Any, out: Writer) -> None:
    """A chart as a table, its series side by side; a diagram as paragraphs. Nothing for None."""
    if root is None:
        return
    if local(root.tag) != "chartSpace":
        for paragraph in descendants(root, "p"):
            out.paragraph("".join(text.text or "" for text in descendants(paragraph, "t")))
        return
    for title in descendants(root, "title"):
        out.paragraph(
            " ".join(
                "".join(text.text or "" for text in descendants(p, "t")) for p in descendants(title, "p")
            )
        )
    for plot in descendants(root, "plotArea"):
        series = [item for chart in plot for item in children(chart, "ser")]
        if series:
            out.table(_rows(series))


def _rows(series: list[Any]) -> list[list[str]]:
    rows: dict[str, list[str]] = {}
    names = [""]
    for column, item in enumerate(series, 1):
        names.append(" ".join(_points(child(item, "tx")).values()))
        categories = _points(_first(item, "cat", "xVal"))
        for place, value in _points(_first(item, "val", "yVal")).items():
            row = rows.setdefault(f"{place}\x00{categories.get(place, '')}", [categories.get(place, "")])
            row += [""] * (column - len(row)) + [value]
        for place, name in categories.items():
            rows.setdefault(f"{place}\x00{name}", [name])
    return [names, *rows.values()]


def _first(element: Any, *names: str) -> Any:
    return next(children(element, *names), None)


def _points(element: Any) -> dict[str, str]:
    """By their place: the values that the program has last seen, of several levels the words of all."""
    found: dict[str, str] = {}
    for point in descendants(element, "pt") if element is not None else ():
        value = child(point, "v")
        if value is not None and value.text:
            place = point.get("idx", "")
            found[place] = f"{value.text} {found[place]}" if place in found else value.text
    if not found and element is not None:
        found = {
            str(place): value.text for place, value in enumerate(descendants(element, "v")) if value.text
        }
    return found
