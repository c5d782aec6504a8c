"""Word documents: what a reader of the document sees is what is found."""

from __future__ import annotations

import pytest

from pgfolio.flows.extraction.extract import extract
from tests.flows.extraction.office import MC, W, docx, p

NUMBERING = (
    f'<w:numbering {W}><w:abstractNum w:abstractNumId="0">'
    '<w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1."/></w:lvl>'
    '<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="%1%2)"/></w:lvl>'
    '</w:abstractNum><w:num w:numId="7"><w:abstractNumId w:val="0"/></w:num></w:numbering>'
)


def box(text: str) -> str:
    return f"<w:txbxContent>{p(text)}</w:txbxContent>"


def item(level: int) -> str:
    return f'<w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="7"/></w:numPr>'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (p("R&amp;D &lt;info@example.org&gt;, 5 &gt; 3"), "R&D <info@example.org>, 5 > 3"),
        (p(r"C:\dir\*.txt is *one* # of snake_case"), r"C:\dir\*.txt is *one* # of snake_case"),
        (p("No.:", "<w:r><w:tab/></w:r>", "4711"), "No.:\t4711"),
        (p("one", "<w:r><w:br/></w:r>", "two"), "one\ntwo"),
        (p("e", "<w:r><w:noBreakHyphen/></w:r>", "mail"), "e-mail"),
        (p("a", "<w:r><w:softHyphen/></w:r>", "b"), "ab"),
        (p("in", "<w:ins><w:r><w:t>serted</w:t></w:r></w:ins>"), "inserted"),
        (p("kept", "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"), "kept"),
        (p("kept", "<w:moveFrom><w:r><w:t>gone</w:t></w:r></w:moveFrom>"), "kept"),
        (
            p(
                "<w:r><w:instrText>PAGE</w:instrText></w:r>",
                "<w:fldSimple><w:r><w:t>12</w:t></w:r></w:fldSimple>",
            ),
            "12",
        ),
        (p("<w:sdt><w:sdtContent><w:r><w:t>field</w:t></w:r></w:sdtContent></w:sdt>"), "field"),
        ("<w:sdt><w:sdtContent>" + p("a block") + "</w:sdtContent></w:sdt>", "a block"),
        (p("before ", f"<w:r><w:pict>{box('boxed')}</w:pict></w:r>", "after"), "before after\n\nboxed"),
        (
            p(
                "own",
                f"<w:r><mc:AlternateContent {MC}><mc:Choice><w:drawing>{box('once')}</w:drawing></mc:Choice>"
                f"<mc:Fallback><w:pict>{box('once')}</w:pict></mc:Fallback></mc:AlternateContent></w:r>",
            ),
            "own\n\nonce",
        ),
        (p("Plan", properties='<w:pStyle w:val="Heading2"/>'), "## Plan"),
        (p("Plan", properties='<w:outlineLvl w:val="0"/>'), "# Plan"),
        (p("Body", properties='<w:outlineLvl w:val="9"/>'), "Body"),
        (
            "<w:tbl><w:tr>"
            + "".join(f"<w:tc>{p(t)}</w:tc>" for t in ("a", "b|c"))
            + '</w:tr><w:tr><w:tc><w:tcPr><w:gridSpan w:val="2"/></w:tcPr>'
            + p("d", "<w:r><w:br/></w:r>", "e")
            + "</w:tc></w:tr></w:tbl>",
            "| a | b|c |\n| --- | --- |\n| d e |  |",
        ),
        ("<w:tbl><w:tr><w:tc>" + p("a frame") + "</w:tc></w:tr></w:tbl>", "a frame"),
    ],
)
def test_a_paragraph_is_read_as_it_stands(body: str, text: str) -> None:
    assert extract("a.docx", docx(body)).text == text + "\n"


def test_lists_and_headings_have_the_numbers_that_are_shown() -> None:
    body = p("Aim", properties=item(0)) + p("one", properties=item(1)) + p("two", properties=item(1))
    body += p("Means", properties=item(0) + '<w:outlineLvl w:val="0"/>') + p("one", properties=item(1))
    data = docx(body, {"numbering.xml": NUMBERING}, n="numbering numbering.xml")
    assert extract("a.docx", data).text == "1. Aim\n  1a) one\n  1b) two\n\n# 2. Means\n\n  2a) one\n"


def test_headers_footers_notes_and_comments_are_found_once() -> None:
    note = '<w:r><w:footnoteReference w:id="2"/></w:r>'
    said = '<w:r><w:commentReference w:id="5"/></w:r>'
    sections = (
        '<w:sectPr><w:headerReference r:id="h"/><w:headerReference r:id="h2"/><w:footerReference'
        ' r:id="f"/></w:sectPr>'
    )
    data = docx(
        p("Raised", note, " in May.", said) + sections,
        {
            "header1.xml": f"<w:hdr {W}>{p('Handbook')}</w:hdr>",
            "header2.xml": f"<w:hdr {W}>{p('Handbook')}</w:hdr>",
            "footer1.xml": f"<w:ftr {W}>{p('Internal')}</w:ftr>",
            "footnotes.xml": (
                f'<w:footnotes {W}><w:footnote w:id="2">{p("By vote.")}</w:footnote></w:footnotes>'
            ),
            "comments.xml": (
                f'<w:comments {W}><w:comment w:id="5" w:author="Ann">{p("Really?")}</w:comment>'
                f'<w:comment w:id="6">{p("Lost")}</w:comment></w:comments>'
            ),
        },
        h="header header1.xml",
        h2="header header2.xml",
        f="footer footer1.xml",
        n="footnotes footnotes.xml",
        c="comments comments.xml",
    )
    expected = (
        "Handbook\n\nRaised in May.\n\nBy vote.\n\nComment by Ann: Really?\n\nComment: Lost\n\nInternal\n"
    )
    assert extract("a.docx", data).text == expected


def test_a_link_keeps_its_address() -> None:
    data = docx(
        p("see ", '<w:hyperlink r:id="l"><w:r><w:t>the list</w:t></w:r></w:hyperlink>'),
        l="hyperlink https://example.org/",
    )
    assert extract("a.docx", data).text == "see [the list](https://example.org/)\n"


def test_a_broken_part_beside_the_text_costs_only_itself() -> None:
    data = docx(
        p("The text."), {"comments.xml": "<broken"}, c="comments comments.xml", x="image media/none.png"
    )
    assert extract("a.docx", data).text == "The text.\n"
