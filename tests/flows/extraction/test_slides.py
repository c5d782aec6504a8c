"""Slides: titles, notes, charts and comments are found, and no picture costs a deck its text."""

from __future__ import annotations

from pgfolio.flows.extraction.extract import extract
from tests.flows.extraction.office import A, C, P, archive, pptx, shape

CHART = (
    f"<c:chartSpace {C}"
    f" {A}><c:chart><c:title><c:tx><c:rich><a:p><a:r><a:t>Harvest</a:t></a:r></a:p></c:rich></c:tx></c:title>"
    "<c:plotArea><c:barChart>"
    + "".join(
        "<c:ser><c:tx><c:strRef><c:strCache><c:pt"
        f" idx='0'><c:v>{name}</c:v></c:pt></c:strCache></c:strRef></c:tx><c:cat><c:strRef><c:strCache><c:pt"
        " idx='0'><c:v>Rye</c:v></c:pt></c:strCache></c:strRef></c:cat><c:val><c:numRef><c:numCache><c:pt"
        f" idx='0'><c:v>{value}</c:v></c:pt></c:numCache></c:numRef></c:val></c:ser>"
        for name, value in (("dry", 4), ("wet", 7))
    )
    + "</c:barChart></c:plotArea></c:chart></c:chartSpace>"
)


def test_a_deck_has_the_title_of_its_first_slide_and_an_offset_for_each() -> None:
    extracted = extract(
        "a.pptx", pptx(shape("Safety &amp; care", "title") + shape("Exits"), shape("Second", "ctrTitle"))
    )
    assert extracted.title == "Safety & care"
    assert extracted.text == "## Safety & care\n\nExits\n\n## Second\n"
    assert [extracted.text[start:][:5] for start in extracted.pages] == ["## Sa", "## Se"]


def test_notes_charts_tables_and_comments_are_found() -> None:
    frame = "<p:graphicFrame><a:graphic><a:graphicData>{}</a:graphicData></a:graphic></p:graphicFrame>"
    cells = "".join(
        f"<a:tc><a:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:txBody></a:tc>" for text in ("a", "b")
    )
    notes = (
        f"<p:notes {P}"
        f" {A}><p:cSld><p:spTree>{shape('Say it slowly', 'body')}{shape('7', 'sldNum')}</p:spTree></p:cSld></p:notes>"
    )
    data = pptx(
        frame.format('<c:chart r:id="c"/>') + frame.format(f"<a:tbl><a:tr>{cells}</a:tr></a:tbl>"),
        parts={
            "charts/chart1.xml": CHART,
            "notesSlides/n.xml": notes,
            "comments/c.xml": f"<p:cmLst {P}><p:cm><p:text>Too long</p:text></p:cm></p:cmLst>",
        },
        c="chart ../charts/chart1.xml",
        n="notesSlide ../notesSlides/n.xml",
        o="comments ../comments/c.xml",
    )
    assert (
        extract("a.pptx", data).text
        == "Harvest\n\n|  | dry | wet |\n| --- | --- | --- |\n| Rye | 4 | 7 |\n\n| a | b |\n| --- | --- |\n\n"
        "Say it slowly\n\nComment: Too long\n"
    )


def test_a_picture_that_is_linked_or_missing_costs_nothing() -> None:
    picture = (
        '<p:pic><p:nvPicPr><p:cNvPr descr="{}"/></p:nvPicPr><p:blipFill><a:blip r:link="x"'
        ' r:embed="y"/></p:blipFill></p:pic>'
    )
    data = pptx(
        picture.format("photo.png") + picture.format("The exits") + shape("Text"),
        x="image https://example.org/a.png",
        y="image ../media/none.png",
    )
    assert extract("a.pptx", data).text == "The exits\n\nText\n"


def test_a_footer_that_each_slide_repeats_is_found_once() -> None:
    assert (
        extract(
            "a.pptx", pptx(shape("ACME", "ftr") + shape("a"), shape("ACME", "ftr") + shape("b"))
        ).text.count("ACME")
        == 1
    )


def test_a_slide_that_is_missing_costs_itself() -> None:
    extracted = extract(
        "a.pptx",
        archive(
            {
                "ppt/presentation.xml": "<broken",
                "ppt/slides/slide2.xml": (
                    f"<p:sld {P} {A}><p:cSld><p:spTree>{shape('Still here')}</p:spTree></p:cSld></p:sld>"
                ),
            }
        ),
    )
    assert extracted.text == "Still here\n"
