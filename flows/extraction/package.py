"""A zip of XML parts, as office programs write them: what it unpacks to is bounded, and its XML has no entities."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from lxml import etree

from pgfolio.flows.extraction.extracted import Unextractable

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PART_BYTES: Final = 1024 * 1024 * 1024
"""Of one part, unpacked, that is read in a stream."""

MAX_TREE_BYTES: Final = 64 * 1024 * 1024
"""Of one part that is held as a tree, which takes some five times as many."""

_FILE_NAME: Final = re.compile(r"\.\w{2,4}$|^\w+://")
SAFE: Final = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}
"""An entity is left out instead of unfolded; nothing outside the file is opened."""


@cache
def local(tag: Any) -> str:
    """A tag's name without its namespace: the strict and the usual documents differ in nothing else."""
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def attribute(element: Any, name: str) -> str | None:
    """By its local name."""
    return next((value for key, value in element.attrib.items() if local(key) == name), None)


def children(element: Any, *names: str) -> Iterator[Any]:
    return (child for child in element if local(child.tag) in names)


def child(element: Any, *path: str) -> Any:
    """The first by each name of the path, or None."""
    for name in path:
        if element is None:
            return None
        element = next(children(element, name), None)
    return element


def descendants(element: Any, *names: str) -> Iterator[Any]:
    yield from element.iter(*(f"{{*}}{name}" for name in names))


def parse(data: bytes) -> Any:
    """Raises lxml.etree.XMLSyntaxError."""
    return etree.fromstring(data, etree.XMLParser(remove_comments=True, remove_pis=True, **SAFE))


class Package:
    """Parts are named as in the archive, and nothing is written to a disk."""

    def __init__(self, data: bytes) -> None:
        """Raises zipfile.BadZipFile, and Unextractable for a document with a password."""
        if "EncryptedPackage".encode("utf-16-le") in data[: 1 << 20] and not data.startswith(b"PK"):
            raise Unextractable("encrypted file: remove the password")
        self._zip = zipfile.ZipFile(io.BytesIO(data))
        self._names = {name.lower(): name for name in self._zip.namelist()}

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._names

    def names(self) -> list[str]:
        return self._zip.namelist()

    def data(self, name: str, limit: int = MAX_TREE_BYTES) -> bytes:
        """Empty where there is no such part. Raises Unextractable if it is too large."""
        if name not in self:
            return b""
        with self.stream(name, limit) as file:
            return bytes(file.read())

    def stream(self, name: str, limit: int = MAX_PART_BYTES) -> Any:
        """Raises Unextractable where there is no such part, or if it is too large or encrypted."""
        if name not in self:
            raise Unextractable(f"its part {name} is missing")
        info = self._zip.getinfo(self._names[name.lower()])
        if info.flag_bits & 1:
            raise Unextractable("encrypted file: remove the password")
        if info.file_size > limit:
            raise Unextractable(f"its part {name} unpacks to more than {limit // 1024**2} MB")
        return self._zip.open(info)

    def tree(self, name: str) -> Any:
        """None where there is no such part, or where it is broken: what is beside the main part costs only itself."""
        try:
            return parse(data) if (data := self.data(name)) else None
        except (etree.XMLSyntaxError, zipfile.BadZipFile, EOFError):
            return None

    def elements(self, name: str, *tags: str) -> Iterator[Any]:
        """As the part is read, each element of these local names when it is complete. Raises XMLSyntaxError."""
        with self.stream(name) as file:
            names = [f"{{*}}{tag}" for tag in tags]
            for _, element in etree.iterparse(
                file, ("end",), tag=names, remove_comments=True, remove_pis=True, **SAFE
            ):
                yield element

    def relations(self, part: str) -> dict[str, tuple[str, str]]:
        """By id: the last word of the type, and the part's name, or the address if it is outside."""
        folder, name = posixpath.split(part)
        root = self.tree(posixpath.join(folder, "_rels", f"{name}.rels"))
        found = {}
        for item in root if root is not None else ():
            target, kind = item.get("Target", ""), item.get("Type", "").rpartition("/")[2]
            if item.get("TargetMode") != "External":
                target = unquote(target).partition("#")[0]
                target = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
            found[item.get("Id", "")] = (kind, target)
        return found

    def related(self, part: str, *kinds: str) -> list[str]:
        """The names of the parts that it points to by relations of these kinds."""
        return [name for kind, name in self.relations(part).values() if kind in kinds and name in self]

    def main_part(self, otherwise: str) -> str:
        return next(iter(self.related("", "officeDocument")), otherwise)


def alternative(element: Any) -> str:
    """The alternative text of a picture, unless a program has put the picture's file name there."""
    words = " ".join((element.get("descr") or "").split())
    return "" if _FILE_NAME.search(words) or words.startswith("data:") else words


def forget(element: Any) -> None:
    """An element of a stream that was read, and those before it."""
    element.clear()
    parent = element.getparent()
    while parent is not None and parent[0] is not element:
        del parent[0]


def core_properties(package: Package) -> dict[str, Any]:
    """What the document says of itself, by the names that the metadata of all documents has."""
    names = {
        "title": "title",
        "subject": "subject",
        "creator": "created_by",
        "keywords": "keywords",
        "description": "description",
        "lastModifiedBy": "modified_by",
        "category": "category",
        "language": "language",
        "created": "created_at",
        "modified": "modified_at",
    }
    part = next(iter(package.related("", "core-properties")), "docProps/core.xml")
    found = texts_of(package.tree(part), names)
    found |= texts_of(package.tree("docProps/app.xml"), {"Pages": "page_count"})
    if "created_by" in found:
        found["authors"] = [found["created_by"]]
    return found


def texts_of(root: Any, names: dict[str, str]) -> dict[str, Any]:
    """The texts of the root's children that have these names, by the names they shall have."""
    return {
        names[local(item.tag)]: item.text.strip()
        for item in (root if root is not None else ())
        if local(item.tag) in names and item.text and item.text.strip()
    }
