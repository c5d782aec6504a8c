"""Web pages as a browser shows them."""

from __future__ import annotations

import time

import pytest

from pgfolio.flows.extraction.extract import extract

PICTURE = "data:image/png;base64," + "iVBORw0KGgo" * 30


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (
            r"<p>C:\dir\*.txt, \\server, \[x], 2 * 3, # of snake_case &amp; R&D</p>",
            r"C:\dir\*.txt, \\server, \[x], 2 * 3, # of snake_case & R&D",
        ),
        ("<p>a <b>bold</b>ly <i>go</i><br>next</p>", "a boldly go\nnext"),
        ("<h2>A  <span>heading</span></h2>text", "## A heading\n\ntext"),
        ("<ul><li>one<li>two<ol start=3><li>three</ol></ul>", "- one\n- two\n  3. three"),
        ("<pre>if a:\n    b</pre>", "```\nif a:\n    b\n```"),
        ("<table><tr><th>a<th>b<tr><td colspan=2>c|d</table>", "| a | b |\n| --- | --- |\n| c|d |  |"),
        ("<table><tr><td><h1>Site</h1><td><p>menu</table>", "# Site\n\nmenu"),
        ("<table><tr><td><table><tr><td>a<td>b</table></table>", "| a | b |\n| --- | --- |"),
        (
            (
                f'<p>a <img alt="floor [1]" src="{PICTURE}"> <a href="https://example.org/x"><img alt=stamp'
                f' src="{PICTURE}"></a></p>'
            ),
            "a floor [1] [stamp](https://example.org/x)",
        ),
        (
            '<p>see <a href="/local">this</a> and <a href="https://example.org">that</a></p>',
            "see this and [that](https://example.org)",
        ),
        (
            (
                "<script>var"
                " x</script><style>p{}</style><p>text</p><template>no</template><noscript>no</noscript>"
            ),
            "text",
        ),
        ("<body><p>a</p><!-- no --><svg><title>no title</title><text>drawn</text></svg>", "a\n\ndrawn"),
        ("<select><option>one<option>two</select><button>Send</button>", "one\n\ntwo\n\nSend"),
        ("<dl><dt>term<dd>what</dl>", "term\n\nwhat"),
        ("<p>10&nbsp;km&lt;x&gt;&#8364;&copy", "10 km<x>€©"),
    ],
)
def test_a_page_is_read_as_it_is_shown(page: str, text: str) -> None:
    assert extract("a.html", page.encode()).text == text + "\n"


@pytest.mark.parametrize(
    ("head", "codec", "text"),
    [
        ("<meta charset=iso-8859-1>", "cp1252", "“quiet” €12"),
        ("<meta charset=shift_jis>", "cp932", "①受付は"),
        ("<meta charset='gb2312'>", "gb18030", "朱镕基"),
        ('<meta http-equiv=Content-Type content="text/html; charset=koi8-r">', "koi8-r", "Привет"),
        ("<meta charset=utf-16>", "utf-8", "déjà"),
        ("<!-- <meta charset=koi8-r> --><meta charset=utf-8>", "utf-8", "déjà"),
        ("", "cp1252", "Gebühr 30 €"),
        ("", "cp1252", "§ 4: µ"),
        ("", "utf-8", "déjà €"),
        ("", "utf-8-sig", "déjà €"),
        ("", "utf-16", "déjà €"),
    ],
)
def test_a_page_is_read_in_the_charset_that_browsers_take(head: str, codec: str, text: str) -> None:
    assert extract("a.html", f"<html><head>{head}</head><p>{text}</p>".encode(codec)).text == text + "\n"


def test_a_title_that_closes_itself_does_not_swallow_the_page() -> None:
    page = (
        '<?xml version="1.0"?><html'
        ' xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body><p>Text</p></body></html>'
    )
    assert extract("a.xhtml", page.encode()).text == "Text\n"


def test_a_page_tells_its_language_author_and_date() -> None:
    head = (
        "<html lang=de><title>T &amp; U</title><meta name=author content=Ann><meta"
        ' property="article:published_time" content="2024-05-01">'
    )
    extracted = extract("a.html", f"{head}<p>Text".encode())
    assert (extracted.title, extracted.owner, extracted.metadata["language"]) == ("T & U", "Ann", "de")
    assert extracted.created_at is not None


@pytest.mark.parametrize(
    "unit",
    [
        "<div>",
        "<b><i>",
        "<table><tr><td>",
        "<ul><li>",
        "<a href=https://x>",
        "<a href=https://x>y<p>",
        "<pre>",
        "<svg>",
        "<title>",
        "<p>![",
        "<table><tr><td>x<td>",
    ],
)
def test_a_page_takes_time_that_is_linear_in_it(unit: str) -> None:
    began = time.perf_counter()
    extract("a.html", ("<p>text</p>" + unit * 30_000 + "deep").encode())
    assert time.perf_counter() - began < 3
