"""Builds small office files: an archive of the parts that a test is about."""

from __future__ import annotations

import io
import zipfile

MAIN = {"word/document.xml": "word", "xl/workbook.xml": "xl", "ppt/presentation.xml": "ppt"}
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
P = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
C = 'xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart"'
MC = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
S = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
ODF = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "text", "table", "presentation")
)
ODF += (
    ' xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"'
    ' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:dc="http://purl.org/dc/elements/1.1/"'
)
KINDS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"


def archive(parts: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in parts.items():
            file.writestr(name, text)
    return out.getvalue()


def relations(**targets: str) -> str:
    """By id, the kind and the target: `r1="slide slides/slide1.xml"`; an address is outside the file."""
    items = ""
    for key, value in targets.items():
        kind, target = value.split(" ", 1)
        mode = ' TargetMode="External"' if "://" in target else ""
        items += f'<Relationship Id="{key}" Type="{KINDS}/{kind}" Target="{target}"{mode}/>'
    return f'<Relationships xmlns="{RELATIONS}">{items}</Relationships>'


def docx(body: str, parts: dict[str, str] | None = None, **targets: str) -> bytes:
    """`targets`: what the document points to; `parts`: those, by their names in the folder `word`."""
    return archive(
        {
            "word/document.xml": f"<w:document {W} {R} {A} {C} {MC}><w:body>{body}</w:body></w:document>",
            "word/_rels/document.xml.rels": relations(**targets),
            **{f"word/{name}": text for name, text in (parts or {}).items()},
        }
    )


def p(*runs: str, properties: str = "") -> str:
    """A paragraph of Word: text runs, and what begins with `<` as it is."""
    inner = "".join(run if run.startswith("<") else f"<w:r><w:t>{run}</w:t></w:r>" for run in runs)
    return f"<w:p>{f'<w:pPr>{properties}</w:pPr>' if properties else ''}{inner}</w:p>"


def shape(text: str, kind: str = "") -> str:
    place = f'<p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>' if kind else ""
    return f"<p:sp>{place}<p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"


def pptx(*slides: str, parts: dict[str, str] | None = None, **targets: str) -> bytes:
    """Each slide's shapes; `targets`: what the first one points to; `parts`: by their names in the folder `ppt`."""
    ids = "".join(f'<p:sldId id="{256 + i}" r:id="s{i}"/>' for i in range(len(slides)))
    names = {f"s{i}": f"slide slides/slide{i}.xml" for i in range(len(slides))}
    found = {
        "ppt/presentation.xml": f"<p:presentation {P} {R}><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations(**names),
        "ppt/slides/_rels/slide0.xml.rels": relations(**targets),
    }
    for i, shapes in enumerate(slides):
        tree = f"<p:cSld><p:spTree>{shapes}</p:spTree></p:cSld>"
        found[f"ppt/slides/slide{i}.xml"] = f"<p:sld {P} {A} {R} {C} {MC}>{tree}</p:sld>"
    return archive({**found, **{f"ppt/{name}": text for name, text in (parts or {}).items()}})


def xlsx(
    rows: str, *, strings: str = "", styles: str = "", parts: dict[str, str] | None = None, **targets: str
) -> bytes:
    """One sheet named R&D; `targets`: what it points to; `parts`: by their names in the folder `xl`."""
    return archive(
        {
            "xl/workbook.xml": f'<workbook {S} {R}><sheets><sheet name="R&amp;D" r:id="s"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": relations(
                s="worksheet worksheets/sheet1.xml",
                t="sharedStrings sharedStrings.xml",
                u="styles styles.xml",
            ),
            "xl/sharedStrings.xml": f"<sst {S}>{strings}</sst>",
            "xl/styles.xml": f"<styleSheet {S}>{styles}</styleSheet>",
            "xl/worksheets/sheet1.xml": f"<worksheet {S}><sheetData>{rows}</sheetData></worksheet>",
            "xl/worksheets/_rels/sheet1.xml.rels": relations(**targets),
            **{f"xl/{name}": text for name, text in (parts or {}).items()},
        }
    )


def odf(kind: str, body: str, styles: str = "") -> bytes:
    """`kind`: text, presentation or spreadsheet."""
    return archive(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": f"<office:document-content {ODF}><office:body><office:{kind}>{body}</office:{kind}>"
            "</office:body></office:document-content>",
            **(
                {"styles.xml": f"<office:document-styles {ODF}>{styles}</office:document-styles>"}
                if styles
                else {}
            ),
        }
    )
