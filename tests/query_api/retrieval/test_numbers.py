"""Numbers that are names: a version, an address, a date is looked for as it is, whatever else has its digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.query_api.library import Page, running_api, stock, write_postings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import httpx

    from pgfolio.config.settings import Settings

VERSIONS = [f"{major}.{minor}.{patch}" for major in (2, 3) for minor in range(4) for patch in range(4)]
PLACES = {
    "10.0.0.7": "The build machine answers at 10.0.0.7 on the inner network.",
    "10.0.7.0": "The printers answer at 10.0.7.0 on the inner network.",
    "2024-05-17": "The contract was signed on 2024-05-17 in the town hall.",
    "2024-05-18": "The contract was printed on 2024-05-18 in the town hall.",
    "17.05.2023": "Unterschrieben wurde am 17.05.2023 im Rathaus.",
    "10.0.0.0/8": "All of 10.0.0.0/8 is ours, and nobody else's.",
    "0800-555-0199": "Call 0800-555-0199 when the lift is stuck.",
    "12:30:05": "The clock in the log stopped at 12:30:05 that day.",
    "v7.1.4": "Firmware v7.1.4 mends the valve.",
    "7.1.5": "Firmware 7.1.5 mends the pump.",
    "127.55": "The invoice is over 127.55 in all.",
}
RELEASES = Page(
    "releases.md",
    "Releases",
    {f"{version} - a release": f"See the changes since {before}. Fixed 3 of 2 and 0 of 1 bugs, 2 of 4 remain."
     for version, before in zip(VERSIONS, [VERSIONS[-1], *VERSIONS[:-1]], strict=True)},
)  # fmt: skip
NOISE = Page(
    "numbers.md",
    "Numbers",
    {
        f"List {n}": f"Numbers 3 2 0, 2 1 3, 10 0 0 7, 2024 05 17, 7 1 4 5 and 12 30 05 in a list, row {n}"
        for n in range(9)
    },
)


@pytest.fixture(scope="module", params=["counted", "posted"])
def numbered(
    request: pytest.FixtureRequest,
    new_database: Callable[[], AbstractContextManager[str]],
    new_settings: Callable[..., Settings],
) -> Iterator[httpx.Client]:
    pages = [Page(f"{n}.md", None, {"Note": text}) for n, text in enumerate(PLACES.values())]
    with new_database() as conninfo:
        settings = new_settings(database_url=conninfo, api={"log": "off"})
        stock(conninfo, settings, (RELEASES, NOISE, *pages))
        if request.param == "posted":
            write_postings(conninfo)
        with running_api(settings, conninfo) as client:
            yield client


def first(client: httpx.Client, query: str, mode: str) -> str:
    answer = client.post("/search", json={"query": query, "mode": mode}).json()
    return f"{answer['results'][0]['heading']}\n{answer['results'][0]['content']}"


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
@pytest.mark.parametrize("form", ["{}", "v{}", "what is new in {}", "V{}?"])
def test_a_version_is_found_with_and_without_its_v(numbered: httpx.Client, form: str, mode: str) -> None:
    """Of the chunk whose heading it is and the next release's, which names it too, one is first."""
    for version in VERSIONS[::5]:
        assert version in first(numbered, form.format(version), mode), version


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
@pytest.mark.parametrize("name", PLACES)
def test_a_number_that_is_a_name_is_found(numbered: httpx.Client, name: str, mode: str) -> None:
    for query in (name, f"where is {name} in the text"):
        assert PLACES[name] in first(numbered, query, mode)


@pytest.mark.parametrize("form", ["{}", "v{}"])
def test_by_its_number_alone_both_arms_find_a_version_as_words_do(numbered: httpx.Client, form: str) -> None:
    for version in VERSIONS[::3]:
        body = {"query": form.format(version), "max_per_document": 100}
        hybrid, lexical = (
            numbered.post("/search", json={**body, "mode": mode}).json()["results"]
            for mode in ("hybrid", "lexical")
        )
        right = [result["chunk_id"] for result in lexical]
        assert [result["chunk_id"] for result in hybrid][: len(right)] == right


@pytest.mark.parametrize(("query", "text"), [("7.1.4", "v7.1.4"), ("v7.1.5", "7.1.5")])
def test_the_other_form_of_a_version_is_as_good(numbered: httpx.Client, query: str, text: str) -> None:
    assert PLACES[text] in first(numbered, query, "hybrid")
