"""What is read out of each kind of file, and how a file that cannot be read says why."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kreuzberg import PdfPageIterator

from pgfolio.flows.extraction.decode import clean, decode
from pgfolio.flows.extraction.extract import extract, tidy
from pgfolio.flows.extraction.extracted import Extracted, Unextractable
from pgfolio.flows.extraction.formats import DOCUMENTS, IMAGES

REPOSITORY = Path(__file__).parents[3]
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
TESSERACT = shutil.which("tesseract")


def archive(**files: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, text in files.items():
            file.writestr(name.replace("__", "/"), text)
    return out.getvalue()


def docx(*paragraphs: str, style: str = "Heading1") -> bytes:
    body = f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr><w:r><w:t>{paragraphs[0]}</w:t></w:r></w:p>'
    body += "".join(f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>" for text in paragraphs[1:])
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    package = "http://schemas.openxmlformats.org/package/2006"
    return archive(
        **{
            "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{kind}"/></Types>',
            "_rels__.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
            'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
            'Target="word/document.xml"/></Relationships>',
            "word__document.xml": f'<w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>',
        }
    )


def pdf(*pages: str) -> bytes:
    """A PDF with a line of text on each page, in a larger font at the top of it."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        stream = f"BT /F1 12 Tf 20 150 Td ({text}) Tj ET" if text else ""
        objects += [
            (
                f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 200] /Contents {5 + 2 * number} 0 R "
                "/Resources << /Font << /F1 3 0 R >> >> >>"
            ),
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    out = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    trailer = f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return out + f"xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode()


HTML = b"""<html><head><meta charset="utf-8"><title>The title</title><style>p {color: red}</style></head>
<body><script>alert("no")</script><h2>A heading</h2><p>Some text.</p>
<table><tr><th>Name</th><th>Age</th></tr><tr><td>Ada</td><td>36</td></tr></table></body></html>"""
MAIL = b"""From: Ada <ada@example.com>
To: bob@example.com
Subject: The plan
Date: Mon, 16 Dec 2024 10:30:00 -0500
Content-Type: text/plain; charset=utf-8

We meet on Tuesday.
"""
NOTEBOOK = json.dumps(
    {
        "cells": [{"cell_type": "markdown", "metadata": {}, "source": ["# A notebook\n", "with text"]}],
        "metadata": {},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
).encode()


@pytest.mark.parametrize(
    ("path", "data", "words"),
    [
        ("a.html", HTML, ["## A heading", "Some text.", "| Ada | 36 |"]),
        (
            "a.csv",
            b'Name,Screen\nAda,27" wide\nBob,"a, b"\n',
            ["| Name | Screen |", '| Ada | 27" wide |', "| Bob | a, b |"],
        ),
        ("a.csv", b"Name;Age\nAda;36\n", ["| Ada | 36 |"]),
        ("a.tsv", b"Name\tAge\nAda\t36\n", ["| Ada | 36 |"]),
        ("a.eml", MAIL, ["We meet on Tuesday."]),
        ("a.docx", docx("A heading", "Some text."), ["A heading", "Some text."]),
        ("a.rtf", rb"{\rtf1\ansi Some {\b bold} text.\par}", ["Some bold text."]),
        ("a.rst", b"Title\n=====\n\nSome text.\n", ["# Title", "Some text."]),
        ("a.org", b"* Heading\nSome text.\n", ["# Heading", "Some text."]),
        ("a.ipynb", NOTEBOOK, ["# A notebook", "with text"]),
        ("a.pdf", pdf("Some text."), ["Some text."]),
    ],
)
def test_a_document_is_read_with_its_headings_and_tables(path: str, data: bytes, words: list[str]) -> None:
    extracted = extract(path, data)
    assert [word for word in words if word not in extracted.text] == []
    assert extracted.markdown


def test_a_web_page_is_read_without_its_scripts_styles_and_head() -> None:
    extracted = extract("page.html", HTML)
    assert [word for word in ("alert", "color", "charset", "The title") if word in extracted.text] == []
    assert extracted.title == "The title"


def test_a_web_page_is_read_in_the_encoding_it_names() -> None:
    assert "café" in extract("a.html", '<meta charset="latin-1"><p>café</p>'.encode("latin-1")).text


def test_a_mail_tells_its_subject_sender_and_time() -> None:
    extracted = extract("a.eml", MAIL)
    assert (extracted.title, extracted.created_at) == ("The plan", datetime(2024, 12, 16, 15, 30, tzinfo=UTC))
    assert extracted.owner is not None
    assert "ada@example.com" in extracted.owner


def test_each_page_of_a_pdf_begins_at_its_offset() -> None:
    pages = ["First page here.", "Second one there.", "The third and last."]
    extracted = extract("a.pdf", pdf(*pages))
    assert [extracted.text[start:].split("\n")[0].strip("# *") for start in extracted.pages] == pages


def test_every_page_has_an_offset_though_one_is_empty() -> None:
    extracted = extract("a.pdf", pdf("First page here.", "", "The third and last."))
    assert len(extracted.pages) == 3
    assert list(extracted.pages) == sorted(extracted.pages)
    assert extracted.text[extracted.pages[2] :].strip("# *\n") == "The third and last."


@pytest.mark.parametrize(
    "name", ["a.py", "a.ts", "a.css", "a.json", "a.sql", "LICENSE", "a.unheardof", "a.txt"]
)
def test_text_is_kept_verbatim(name: str) -> None:
    text = "# not a heading\n  x = 'a_b'  # \\. \t\n\n\n<b>é</b>\n"
    assert extract(name, text.encode()) == Extracted(text, None, extract(name, b"").mime, file_offset=0)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("\ufeffé\r\nb".encode(), "é\nb"),
        ("é\rb".encode("utf-16"), "é\nb"),
        (
            "caf\u00e9 au lait, d\u00e9j\u00e0 vu, na\u00efve fa\u00e7ade".encode("cp1252"),
            "café au lait, déjà vu, naïve façade",
        ),
        ("Größe und Maß".encode("latin-1"), "Größe und Maß"),
        (
            "Привет, как дела? Это обычный русский текст.".encode("cp1251"),
            "Привет, как дела? Это обычный русский текст.",
        ),
        (b"a\0b", "ab"),
        (b"", ""),
        (b" \n", " \n"),
    ],
)
def test_text_in_any_encoding_becomes_clean_text(data: bytes, expected: str) -> None:
    assert extract("a.txt", data).text == expected


def test_front_matter_becomes_metadata_and_the_body_the_text() -> None:
    data = b"---\ntitle: T\ndate: 2024-05-01\ntags: [a, b]\nauthor: Ada\nn: .nan\n---\n\n# Heading\n\nBody.\n"
    assert extract("a.md", data) == Extracted(
        text="# Heading\n\nBody.\n",
        title="T",
        mime="text/markdown",
        metadata={"date": "2024-05-01", "tags": ["a", "b"], "author": "Ada", "n": "nan"},
        created_at=datetime(2024, 5, 1, tzinfo=UTC),
        owner="Ada",
        markdown=True,
        file_offset=len(data) - len(b"# Heading\n\nBody.\n"),
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("9" * 301, int("9" * 301)),
        ("0x" + "f" * 250, (1 << 1000) - 1),
        ("0x1" + "0" * 250, "0x1" + "0" * 250),
        ("-0x" + "f" * 4000, "-0x" + "f" * 4000),
        ("0b" + "1" * 20_000, "0x" + "f" * 5000),
        ("[1:" + ":".join(["30"] * 3000) + "]", None),
    ],
    ids=["decimal", "hexadecimal", "a bit longer", "negative", "binary", "of base 60"],
)
def test_an_integer_in_front_matter_that_is_too_long_for_json_becomes_text(
    written: str, expected: int | str | None
) -> None:
    extracted = extract("a.md", f"---\nb: {written}\n---\nBody.\n".encode())
    assert extracted.text == "Body.\n"
    assert json.loads(json.dumps(extracted.metadata)) == extracted.metadata
    assert expected is None or extracted.metadata == {"b": expected}


def test_a_title_that_is_a_number_without_end_is_text() -> None:
    assert extract("a.md", b"---\ntitle: 0x" + b"f" * 4000 + b"\n---\nBody.\n").title == "0x" + "f" * 498


@pytest.mark.parametrize(
    "text",
    [
        "---\na: [b\n---\n\nBody.\n",
        "---\n- a list\n---\n\nBody.\n",
        "---\nno end\n",
        "---\n\nA rule above.\n",
        "---\na: &a [x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{b}: &{b} [{', '.join(['*' + a] * 8)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)
        )
        + "---\n\nBody.\n",
    ],
    ids=["broken", "list", "no end", "rule", "unfolding without end"],
)
def test_front_matter_without_sense_is_text(text: str) -> None:
    extracted = extract("a.md", text.encode())
    assert (extracted.text, extracted.metadata) == (text, {})


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# First\n\n# Second\n", "First"),
        ("```\n# code\n```\n\n# A `real` one #\n", "A real one"),
        ("~~~\n# code\n~~~\n\n# Of C#\n", "Of C#"),
        ("# A name {#an-id}\n", "A name"),
        ("Title\n=====\n", "Title"),
        ("## Only a second level\n", None),
        ("---\ntitle: ''\n---\n# Heading\n", "Heading"),
        ("---\ntitle: 42\n---\n", "42"),
        ("no heading\n", None),
    ],
)
def test_a_title_comes_from_the_content_or_there_is_none(text: str, title: str | None) -> None:
    assert extract("name.md", text.encode()).title == title


@pytest.mark.parametrize(
    ("path", "data", "reason"),
    [
        ("a.zip", archive(a="b"), "unsupported type application/zip"),
        ("a.bin", b"\0\1\2\xff", "unsupported type application/octet-stream"),
        ("a.heic", b"\0\0\0\x18ftypheic\0\0\0\0", "unsupported type image/hei"),
        ("a.docx", b"", "it is empty"),
        ("a.docx", b"garbage", "cannot be read as application/vnd.openxmlformats"),
        ("a.pdf", b"%PDF-1.4 garbage", "cannot be read as application/pdf"),
        ("a.html", b"<html><body></body></html>", "no text found in it"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_in_a_line(path: str, data: bytes, reason: str) -> None:
    with pytest.raises(Unextractable) as caught:
        extract(path, data)
    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def without_programs(path: str, data: bytes) -> str:
    """What `extract` says on a machine without Tesseract, whatever this one has."""
    program = (
        "import sys; sys.modules['rapidocr'] = None; from pgfolio.flows.extraction.extract import extract\n"
        "extract(sys.argv[1], sys.stdin.buffer.read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path],
        input=data,
        cwd=REPOSITORY,
        env={**os.environ, "PATH": "/nowhere"},
        capture_output=True,
        check=False,
    )
    return done.stderr.decode().splitlines()[-1]


@pytest.mark.parametrize(
    ("path", "data", "error", "reason"),
    [
        (
            "a.png",
            b"\x89PNG",
            "NothingToRead",
            "image: needs OCR: pip install 'pgfolio[ocr]', or install Tesseract",
        ),
        (
            "a.pdf",
            pdf(""),
            "Unextractable",
            "no text found in it (scanned pages need OCR: pip install 'pgfolio[ocr]', or install Tesseract)",
        ),
    ],
)
def test_what_tesseract_could_read_is_said_to_need_it(
    path: str, data: bytes, error: str, reason: str
) -> None:
    assert without_programs(path, data) == f"pgfolio.flows.extraction.extracted.{error}: {reason}"


@pytest.mark.skipif(TESSERACT is None, reason="reads by Tesseract, which is not installed here")
def test_an_image_of_a_page_is_read_by_tesseract(tmp_path: Path) -> None:
    (tmp_path / "page.pdf").write_bytes(pdf("A page that was printed and scanned."))
    with PdfPageIterator(str(tmp_path / "page.pdf"), dpi=200) as pages:
        [(_, image)] = pages
    assert extract("page.png", image).text == "A page that was printed and scanned.\n"


LOCKED = base64.b64decode(
    "JVBERi0xLjMKMSAwIG9iago8PC9UeXBlL0NhdGFsb2cvUGFnZXMgMiAwIFI+PgplbmRvYmoKMiAwIG9iago8PC9UeXBlL1BhZ2VzL0NvdW50"
    "IDAvS2lkc1tdPj4KZW5kb2JqCjMgMCBvYmoKPDwvRmlsdGVyL1N0YW5kYXJkL1YgMS9SIDIvTyAoMDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"
    "NDU2Nzg5MDEpL1UgKDAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxKS9QIC00Pj4KZW5kb2JqCnRyYWlsZXIKPDwvU2l6ZSA0L1Jv"
    "b3QgMSAwIFIvRW5jcnlwdCAzIDAgUi9JRFs8MDA+PDAwPl0+Pgo="
)


def test_an_encrypted_pdf_asks_for_its_password_to_be_removed() -> None:
    with pytest.raises(Unextractable, match=r"^encrypted PDF: remove the password$"):
        extract("a.pdf", LOCKED)


def test_a_file_with_the_wrong_name_is_known_by_its_bytes() -> None:
    assert extract("report.dat", pdf("Some text.")).mime == "application/pdf"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted({*DOCUMENTS, *IMAGES, "md", "txt", "bin", ""})), st.binary(max_size=200))
def test_any_bytes_under_any_name_give_text_or_a_reason(suffix: str, data: bytes) -> None:
    try:
        extracted = extract(f"a.{suffix}", data)
    except Unextractable:
        return
    assert extracted.text == clean(extracted.text)
    assert json.loads(json.dumps(extracted.metadata, allow_nan=False)) == extracted.metadata


@given(st.text())
def test_clean_text_can_be_stored(text: str) -> None:
    assert "\0" not in clean(text)
    assert clean(text).encode().decode() == clean(text)


def test_bytes_that_are_not_text_are_not_taken_for_it() -> None:
    assert decode(b"\x89PNG\r\n\0", known=False) is None
    assert decode(b"\xff\xd8\xff\xe0", known=False) is None


def test_tidying_keeps_code_and_drops_images_that_are_data() -> None:
    text = "snake\\_case \\> 1\\. ![x](data:image/png;base64,AAAA)\n\n```\na\\_b\n```\n"
    assert tidy(text) == "snake_case > 1. x\n\n```\na\\_b\n```\n"


def test_reading_writes_nothing_and_importing_is_cheap(tmp_path: Path) -> None:
    program = (
        "import sys; import pgfolio.flows.extraction.extract as e\n"
        "assert not {'kreuzberg', 'yaml', 'frontmatter'} & set(sys.modules)\n"
        "e.extract('a.rst', b'Title\\n=====\\n'); e.extract('a.csv', b'a,b\\n1,2\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env={**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("field", ["date", "created", "created_at"])
def test_front_matter_tells_when_a_document_was_made(field: str) -> None:
    extracted = extract("a.md", f"---\n{field}: 2020-01-02\n---\n\nText.\n".encode())
    assert extracted.created_at == datetime(2020, 1, 2, tzinfo=UTC)


def test_a_date_that_no_calendar_has_does_not_cost_the_rest_of_the_front_matter() -> None:
    extracted = extract("a.md", b"---\ntitle: Plan\ncreated: 2020-02-30\n---\n\nText.\n")
    assert (extracted.title, extracted.text, extracted.created_at) == ("Plan", "Text.\n", None)


@pytest.mark.parametrize(
    ("charset", "data"), [("utf-8", "Grüße"), ("iso-8859-1", "Grüße"), ("windows-1251", "Привет")]
)
def test_a_pages_title_is_read_as_its_text(charset: str, data: str) -> None:
    head = f"<head><meta charset={charset}><title>{data} &amp; more</title></head>"
    extracted = extract("a.html", f"<html>{head}<body><p>{data}.</p></body></html>".encode(charset))
    assert (extracted.title, extracted.text) == (f"{data} & more", f"{data}.\n")
