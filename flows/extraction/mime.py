"""The types of the documents that are read, by their MIME names and by the suffixes that files have."""

from __future__ import annotations

PDF, HTML, PPT = "application/pdf", "text/html", "application/vnd.ms-powerpoint"
OFFICE, OPEN = "application/vnd.openxmlformats-officedocument.", "application/vnd.oasis.opendocument."
DOCX, XLSX = OFFICE + "wordprocessingml.document", OFFICE + "spreadsheetml.sheet"
PPTX = OFFICE + "presentationml.presentation"
DOC, XLS, MSG, RTF = (
    "application/msword",
    "application/vnd.ms-excel",
    "application/vnd.ms-outlook",
    "application/rtf",
)
XLSB = "application/vnd.ms-excel.sheet.binary.macroEnabled.12"
ODT, ODS, ODP, ODG = (OPEN + kind for kind in ("text", "spreadsheet", "presentation", "graphics"))
EML, MBOX, MHTML = "message/rfc822", "application/mbox", "multipart/related"
EPUB, IPYNB = "application/epub+zip", "application/x-ipynb+json"
CSV, TSV, TXT = "text/csv", "text/tab-separated-values", "text/plain"
XML_SHEET = "application/xml"
DOCUMENTS = {
    "csv": CSV,
    **dict.fromkeys(("doc", "dot"), DOC),
    **dict.fromkeys(("docm", "docx", "dotm", "dotx"), DOCX),
    "eml": EML,
    "epub": EPUB,
    **dict.fromkeys(("htm", "html", "xhtml"), HTML),
    "ipynb": IPYNB,
    "mbox": MBOX,
    **dict.fromkeys(("mht", "mhtml"), MHTML),
    "msg": MSG,
    **dict.fromkeys(("odg", "otg"), ODG),
    **dict.fromkeys(("odp", "otp"), ODP),
    **dict.fromkeys(("ods", "ots"), ODS),
    **dict.fromkeys(("odt", "ott"), ODT),
    "org": "text/x-org",
    "pdf": PDF,
    **dict.fromkeys(("pot", "pps", "ppt"), PPT),
    **dict.fromkeys(("potm", "potx", "ppsm", "ppsx", "pptm", "pptx"), PPTX),
    "rst": "text/x-rst",
    "rtf": RTF,
    "tsv": TSV,
    **dict.fromkeys(("xls", "xlt"), XLS),
    "xlsb": XLSB,
    **dict.fromkeys(("xlsm", "xlsx", "xltm", "xltx"), XLSX),
}
OFFICE_FILES = frozenset({DOC, DOCX, XLS, XLSB, XLSX, PPT, PPTX, MSG, RTF, ODT, ODS, ODP})
"""Under their suffixes programs write pages, tables, mails and plain text as well."""
