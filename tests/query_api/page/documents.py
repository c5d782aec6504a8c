"""What the page is shown over: plain documents, and hostile ones."""

from __future__ import annotations

from tests.query_api.library import PAGES, Page

HOSTILE = Page(
    "hostile.md",
    "<img src=x onerror=alert(1)> Kestrels",
    {
        "Kestrel <script>alert(2)</script>": "A kestrel hovers. <script>document.title = 'owned'</script> "
        "<img src='https://elsewhere.example/a.png' onerror='alert(3)'> [click](javascript:alert(4)) "
        "![picture](https://elsewhere.example/b.png?secret) <iframe srcdoc='<script>alert(5)</script>'></iframe> "
        "A kestrel weighs 200 grams.",
        "Order": "The order of \u202egnidaer\u202c is a trick of \u2066letters\u2069 on a kestrel page.",
    },
    metadata={"<b>key</b>": "<script>alert(6)</script>"},
)
LONG_LINE = Page(
    "line.txt",
    "One long line",
    {"Line": "zephyr " + "lorem ipsum dolor " * 290_000 + "needle at the end"},
    "vast",
)
ASTRAL = Page(
    "emoji.md",
    "Faces \U0001f600",
    {"Faces \U0001f603\U0001f604": "\U0001f600 " * 40 + "The okapi eats leaves of acacia trees."},
)
QUARTERS = tuple(
    Page(
        f"reports/{year}.md",
        f"Annual report {year}",
        {
            "Figures": f"The revenue of the mill in {year} was {amount} million crowns. It employed {people} people."
        },
        collection="reports",
        metadata={"year": year, "kind": "report"},
    )
    for year, amount, people in ((2021, 41, 310), (2022, 47, 324))
)
DOCUMENTS = (*PAGES, HOSTILE, ASTRAL, *QUARTERS)
