"""The second reading finds the words that the first one should have, by other code."""

from __future__ import annotations

import pytest

from pgfolio.flows.extraction import mime
from pgfolio.flows.extraction.independent import independent_text
from tests.flows.extraction.office import W, archive, docx, odf, p, pptx, shape, xlsx

ENTITIES = '<!DOCTYPE d [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        (
            mime.DOCX,
            docx(
                p("R&amp;D", "<w:r><w:tab/></w:r>", "4711")
                + p("b", "<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>")
            ),
            "R&D 4711 b",
        ),
        (mime.ODT, odf("text", "<text:p>a <text:span>b</text:span></text:p><text:p>c</text:p>"), "a b c"),
        (mime.PPTX, pptx(shape("A slide")), "A slide"),
        (
            mime.XLSX,
            xlsx(
                '<row><c t="s"><v>1</v></c><c s="1"><v>45366</v></c></row>',
                strings="<si><t>unused</t></si><si><t>used</t></si>",
            ),
            "used",
        ),
        (mime.HTML, b"<title>t</title><p>a<b>b</b><script>no</script></p><p>c", "ab c"),
        (mime.EML, b"Content-Type: text/plain; charset=gb2312\n\n\xd4\xa4\xcb\xe3\n", "预算"),
        (mime.IPYNB, b'{"cells": [{"source": ["a ", "b"]}]}', "a b"),
        (mime.CSV, b"a;b\n1;2\n", "a b 1 2"),
        (mime.PDF, b"%PDF-", ""),
        (mime.DOCX, b"garbage", ""),
        (mime.DOCX, archive({"word/document.xml": f"{ENTITIES}<w:t {W}>&b;</w:t>"}), ""),
    ],
)
def test_words_are_found_whatever_their_order(kind: str, data: bytes, words: str) -> None:
    assert independent_text(kind, data).split() == words.split()
