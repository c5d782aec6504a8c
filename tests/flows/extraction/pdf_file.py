"""A PDF written by hand: text at places, with bookmarks, and with what is filled in or pictured on its pages."""

from __future__ import annotations

from dataclasses import dataclass, field

WIDTH, HEIGHT = 600, 800
FONTS = ("Helvetica", "Helvetica-Bold", "Courier", "Helvetica-Oblique")


def at(x: float, y: float, text: str, *, size: float = 11, bold: bool = False, code: bool = False) -> str:
    font = 2 if bold else 3 if code else 1
    written = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"BT /F{font} {size} Tf 1 0 0 1 {x} {y} Tm ({written}) Tj ET"


def down(lines: list[str], *, x: float = 72, y: float = 700, step: float = 14, size: float = 11) -> str:
    return "\n".join(at(x, y - number * step, line, size=size) for number, line in enumerate(lines))


@dataclass
class Written:
    """`pages`: the content of each; `bookmarks`: title and page (from 0)."""

    pages: list[str]
    bookmarks: list[tuple[str, int]] = field(default_factory=list)
    info: str = ""
    filled: str = ""
    objects: list[bytes] = field(default_factory=list)

    def add(self, text: str | bytes) -> int:
        self.objects.append(text if isinstance(text, bytes) else text.encode("latin-1"))
        return len(self.objects)

    def stream(self, text: str | bytes, head: str = "") -> int:
        data = text if isinstance(text, bytes) else text.encode("latin-1")
        return self.add(f"<<{head}/Length {len(data)}>>\nstream\n".encode() + data + b"\nendstream")

    def data(self) -> bytes:
        catalog, tree = self.add(""), self.add("")
        fonts = " ".join(
            f"/F{number} {self.add(f'<</Type/Font/Subtype/Type1/BaseFont/{name}/Encoding/WinAnsiEncoding>>')} 0 R"
            for number, name in enumerate(FONTS, 1)
        )
        grey = self.stream(
            b"\x80", "/Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8"
        )
        resources = f"/Resources<</Font<<{fonts}>>/XObject<</Im {grey} 0 R>>>>"
        numbers = [self._page(tree, content, resources) for content in self.pages]
        kids = " ".join(f"{number} 0 R" for number in numbers)
        self.objects[tree - 1] = f"<</Type/Pages/Kids[{kids}]/Count {len(numbers)}>>".encode()
        outline = self._outline(numbers)
        self.objects[catalog - 1] = f"<</Type/Catalog/Pages {tree} 0 R{outline}>>".encode()
        info = f"/Info {self.add(f'<<{self.info}>>')} 0 R" if self.info else ""
        return self._file(catalog, info)

    def _page(self, tree: int, content: str, resources: str) -> int:
        stream = self.stream(content)
        box = f"/MediaBox[0 0 {WIDTH} {HEIGHT}]"
        annotations = ""
        if self.filled:
            look = self.stream(
                at(2, 5, self.filled), f"/Type/XObject/Subtype/Form/BBox[0 0 300 20]{resources}"
            )
            field_ = f"<</Type/Annot/Subtype/Widget/FT/Tx/T(a)/F 4/Rect[72 300 372 320]/AP<</N {look} 0 R>>>>"
            annotations = f"/Annots[{self.add(field_)} 0 R]"
        return self.add(
            f"<</Type/Page/Parent {tree} 0 R{box}/Contents {stream} 0 R{resources}{annotations}>>"
        )

    def _outline(self, pages: list[int]) -> str:
        if not self.bookmarks:
            return ""
        root = self.add("")
        first = root + 1
        for number, (title, page) in enumerate(self.bookmarks, first):
            after = f"/Next {number + 1} 0 R" if number < root + len(self.bookmarks) else ""
            self.add(f"<</Title({title})/Parent {root} 0 R/Dest[{pages[page]} 0 R/Fit]{after}>>")
        last = root + len(self.bookmarks)
        self.objects[root - 1] = (
            f"<</Type/Outlines/First {first} 0 R/Last {last} 0 R/Count {last - root}>>".encode()
        )
        return f"/Outlines {root} 0 R"

    def _file(self, catalog: int, info: str) -> bytes:
        out, places = b"%PDF-1.5\n", []
        for number, body in enumerate(self.objects, 1):
            places.append(len(out))
            out += b"%d 0 obj\n" % number + body + b"\nendobj\n"
        size = len(places) + 1
        table = "".join(f"{place:010} 00000 n \n" for place in places)
        trailer = f"trailer<</Size {size}/Root {catalog} 0 R{info}>>\nstartxref\n{len(out)}\n%%EOF"
        return out + f"xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode()
