"""Rich text as it stands on its pages."""

from __future__ import annotations

import pytest

from pgfolio.flows.extraction.extract import extract


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (rb"C:\\dir\\*.txt, R&D, 5 < 6, \{x\}\par", r"C:\dir\*.txt, R&D, 5 < 6, {x}"),
        (rb"{\b Bo}ld\tab and {\i it}\line next\par second\par", "Bold\tand it\nnext\n\nsecond"),
        (rb"caf\'e9 \u8364?\uc0\u8364 {\f1 \'cf\'f0\'e8}{\f2 \'93\'fa\'96\'7b}\par", "café €€При日本"),
        (rb"\u-10179?\u-8704?\par", "\U0001f600"),
        (
            rb'{\field{\*\fldinst HYPERLINK "x"}{\fldrslt link}} {\*\unknown gone}{\v hidden}seen\par',
            "link seen",
        ),
        (rb"{\pict 0102ff}kept {\deleted gone}\par", "kept"),
        (
            rb"\trowd\cellx1 A\cell B|c\cell\row\trowd\intbl C\par two\cell D\cell\row\pard end\par",
            "| A | B|c |\n| --- | --- |\n| C two | D |\n\nend",
        ),
        (
            rb"{\header Top\par}{\footer Bottom\par}Text{\*\annotation Why?} here\par",
            "Top\n\nComment: Why?\n\nText here\n\nBottom",
        ),
        (rb"\outlinelevel1 Plan\par\pard Text\par", "## Plan\n\nText"),
        (rb"never closed {{{", "never closed"),
    ],
)
def test_rich_text_is_read_as_it_stands(body: bytes, text: str) -> None:
    fonts = rb"{\fonttbl{\f0 Arial;}{\f1\fcharset204 Arial;}{\f2\fcharset128 Gothic;}}"
    head = rb"{\rtf1\ansi\ansicpg1252" + fonts + rb"{\info{\title A plan}{\author Ann}}\f0 "
    extracted = extract("a.rtf", head + body + b"}")
    assert (extracted.text, extracted.title, extracted.owner) == (text + "\n", "A plan", "Ann")
