"""`python -m tests.faults.bombs` syncs a folder of files made to break their readers, beside good ones, and shows the
most memory that all its processes took together. Takes some minutes; tests/flows/ingest/test_bombs.py is quick."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.environment import without_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
DEEP = 30_000
"""Brackets that end the process which reads them."""
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"


def bombs(n: int) -> Iterator[tuple[str, bytes]]:
    """Names and bytes; 100 takes a fraction of a second for each, 20,000 is what an attacker would send."""
    for name, text in _texts(n):
        yield name, text.encode("utf-8", "surrogatepass")
    yield from _binaries(n)


def _texts(n: int) -> Iterator[tuple[str, str]]:
    levels = 5 if n < 1000 else 12
    yield "front-brackets.md", "---\na: " + "[" * max(30 * n, DEEP) + "\n---\n\nA page.\n"
    yield "front-braces.md", "---\na: " + "{a: " * 30 * n + "\n---\n\nA page.\n"
    yield "front-dashes.md", "---\n" + "- " * 30 * n + "\n---\n\nA page.\n"
    yield (
        "front-indented.md",
        "---\n" + "".join(" " * i + "a:\n" for i in range(min(n, 5000))) + "---\n\nA page.\n",
    )
    yield "front-aliases.md", f"---\n{_aliases('[{}]', '', levels)}---\n\nA page.\n"
    yield "front-merged.md", f"---\n{_aliases('{{<<: [{}]}}', '<<: ', levels)}---\n\nA page.\n"
    yield "front-many.md", "---\n" + "".join(f"key{i}: {i}\n" for i in range(40 * n)) + "---\n\nA page.\n"
    yield "front-long.md", "---\nblob: " + "x" * 1000 * n + "\n---\n\nA page.\n"
    yield "front-escapes.md", '---\na: "' + "\\\n" * 30 * n + "\n---\n\nA page.\n"
    yield "front-endless.md", "---\n" * 50 * n + "A page.\n"
    for name, unit in {
        "scripts": "<script>",
        "heads": "<head ",
        "metas": "<meta ",
        "titles": "<title>",
    }.items():
        yield f"{name}.html", unit * 20 * n + "x"
    yield "nested.html", "<div>" * 20 * n + "deep" + "</div>" * 20 * n
    yield "unclosed.html", "<b><i>" * 20 * n + "deep"
    yield "tables.html", "<table><tr><td>" * 5 * n + "x"
    yield "images.html", "<p>" + "![" * 50 * n + "</p>"
    yield "entities.xml", f"<!DOCTYPE d [{_entities()}]><d>&j;</d>"
    yield "deep.json", "[" * 100 * n
    yield "deep.ipynb", '{"cells":' + "[" * 100 * n
    for name, unit in {
        "brackets": "[",
        "bangs": "![",
        "ticks": "`",
        "hashes": "#",
        "quotes": "> ",
        "pipes": "|",
    }.items():
        yield f"{name}.md", unit * 100 * n
    yield "fences.md", "```\n~~~\n" * 20 * n
    yield "headings.md", "".join(f"{'#' * (1 + i % 6)} h{i}\n" for i in range(5 * n))
    yield "word.txt", "a" * 1000 * n
    yield "blank.txt", " " * 1000 * n + "x"
    yield "combining.txt", "e" + "\u0301" * 100 * n
    yield "quotes.csv", '"' * 100 * n
    yield "wide.csv", "," * 100 * n
    yield "open.rtf", "{\\rtf1 " + "{" * 20 * n + "x"
    parts = (f"Content-Type: multipart/mixed; boundary=b{i}\r\n\r\n--b{i}\r\n" for i in range(n))
    yield "nested.eml", "".join(parts) + "\r\nhi"


def _binaries(n: int) -> Iterator[tuple[str, bytes]]:
    yield "odd.txt", bytes(range(128, 256)) * n
    yield "half.txt", b"\xff\xfe" + b"\xd8" * (2 * n + 1)
    yield "entities.docx", _docx("&j;", f"<!DOCTYPE d [{_entities()}]>")
    yield "outside.docx", _docx("&x;", '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>')
    yield "paragraphs.docx", _docx("</w:t></w:r></w:p><w:p><w:r><w:t>a" * 10 * n)
    yield "letters.docx", _docx("a" * 20_000 * n)
    yield "stream.pdf", _pdf(b" " * 10_000 * n + b"BT /F1 12 Tf 10 10 Td (a stream) Tj ET")
    yield "words.pdf", _pdf(b"BT /F1 12 Tf 10 10 Td " + b"(pdf) Tj " * 20 * n + b"ET")


def _aliases(value: str, key: str, levels: int) -> str:
    first = "a0: &a0 {k: v}\n" if key else "a0: &a0 [x]\n"
    return first + "".join(
        f"a{i}: &a{i} {value.format(','.join([f'*a{i - 1}'] * 9))}\n" for i in range(1, levels)
    )


def _entities() -> str:
    doubled = zip("abcdefghi", "bcdefghij", strict=True)
    return '<!ENTITY a "lollollol">' + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in doubled)


def _docx(text: str, declared: str = "") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{TYPES}"><Override PartName="/word/document.xml" ContentType="{MAIN}"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{RELATIONS}">'
            f'<Relationship Id="r" Type="{DOCUMENT}" Target="word/document.xml"/></Relationships>',
        )
        body = f"<w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body>"
        archive.writestr("word/document.xml", f'{declared}<w:document xmlns:w="{W}">{body}</w:document>')
    return out.getvalue()


def _pdf(content: bytes) -> bytes:
    stream = zlib.compress(content, 9)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n" % len(stream) + stream + b"\nendstream",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out, places = b"%PDF-1.5\n", []
    for number, item in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + item + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return (
        out
        + b"xref\n0 6\n0000000000 65535 f \n"
        + table
        + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % len(out)
    )


def _tree(root: int) -> list[int]:
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def _proportional_mb(process: int) -> int:
    """0 for PostgreSQL, which is not the sync's."""
    try:
        if b"postgres" in Path(f"/proc/{process}/cmdline").read_bytes():
            return 0
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def _measured(arguments: list[str], environment: dict[str, str]) -> tuple[dict[str, Any], int, float]:
    """The report, the peak of all processes together in MB, and the seconds."""
    began, peak = time.monotonic(), 0
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "pgfolio.flows", *arguments, "--json"], env=environment, stdout=out
        )
        while process.poll() is None:
            peak = max(peak, sum(map(_proportional_mb, _tree(process.pid))))
            time.sleep(0.1)
        out.seek(0)
        return json.loads(out.read().splitlines()[-1]), peak, time.monotonic() - began


def main() -> None:
    """Two syncs: the second does not try again what ended the first one's readers."""
    without_settings()
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)  # PostgreSQL may run under a user of its own
        folder = Path(place, "bombs")
        folder.mkdir()
        for name, data in bombs(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000):
            (folder / name).write_bytes(data)
            (folder / f"good-{name}.md").write_text(f"# Good\n\nThis stands beside {name}.\n")
        environment = {
            **os.environ,
            "PGFOLIO_HOME": str(Path(place, "home")),
            "PGFOLIO_CRAWL__EXTRACT_TIMEOUT": "20",
        }
        for _ in range(2):
            report, peak, seconds = _measured(["sync", str(folder)], environment)
            print(report["status"], report["documents"], f"{peak} MB at most, {seconds:.0f} s")
        for problem in report["problems"]:
            print(f"  {problem['path']:20} {problem['reason']}")


if __name__ == "__main__":
    main()
