"""Presentations, workbooks and books: text with its headings and pages, or a typed failure."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from types import ModuleType

from lorestream.documents.formats import epub, pptx, xlsx
from lorestream.documents.parse import DocumentFailed, checked

R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
SHEET = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
LINKS = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
TEXT = "<txBody><p><r><t>text</t></r></p></txBody>"
TITLE = f'<sp><nvSpPr><nvPr><ph type="title"/></nvPr></nvSpPr>{TEXT}</sp>'
TABLE = "<graphicFrame><tbl><tr><tc><p><t>a|b</t></p></tc><tc/></tr></tbl></graphicFrame>"
Parts = dict[str, str]
SHOW: Parts = {
    "ppt/slides/a.xml": f"<sld>{TITLE}<grpSp><sp>{TEXT}</sp></grpSp>{TABLE}</sld>",
    "ppt/presentation.xml": f'<p {R}><sldId r:id="a"/></p>',
    "ppt/_rels/presentation.xml.rels": '<x><Relationship Id="a" Type="x/slide" Target="slides/a.xml"/></x>',
}
WORKBOOK: Parts = {
    "xl/worksheets/a.xml": f'<worksheet {SHEET}><sheetData><row r="1"><c r="A1"><v>1</v></c><c r="B1" t="b"><v>1</v>'
    '</c></row><row r="3"><c r="B3" t="inlineStr"><is><t>x</t></is></c></row></sheetData></worksheet>',
    "xl/workbook.xml": f'<workbook {SHEET} {R}><sheets><sheet name="A" sheetId="1" r:id="a"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships {LINKS}><Relationship Id="a" Type="{OFFICE}/worksheet" '
    'Target="worksheets/a.xml"/></Relationships>',
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Override '
    'PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main'
    '+xml"/></Types>',
}
BOOK: Parts = {
    "a.xhtml": "<html><body><h1>Chapter</h1><p>Text.</p></body></html>",
    "a.opf": '<p><title>Book</title><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
    '<item id="n" href="n.ncx" media-type="application/x-dtbncx+xml"/><itemref idref="a"/></p>',
    "n.ncx": '<n><navPoint><text>Name</text><content src="a.xhtml#b"/></navPoint></n>',
    "META-INF/container.xml": '<c><rootfile full-path="a.opf"/></c>',
}
KINDS: list[tuple[ModuleType, Parts]] = [(pptx, SHOW), (xlsx, WORKBOOK), (epub, BOOK)]
SEEDS = [
    bytes([kind, at]) + part.encode() for kind, (_, parts) in enumerate(KINDS) for at, part in enumerate(parts.values())
]
FILE = Path(tempfile.mkdtemp(prefix="fuzz-packed-")) / "x"


def one(data: bytes) -> None:
    """Read a document with one of its parts as given."""
    kind, at = (*data[:2], 0, 0)[:2]
    reader, parts = KINDS[kind % len(KINDS)]
    changed = list(parts)[at % len(parts)]
    with zipfile.ZipFile(FILE, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, data[2:] if name == changed else part)
    try:
        parsed = checked(reader.parse(FILE))
    except DocumentFailed:
        return
    stretches = [(heading.start, heading.end) for heading in parsed.headings]
    for start, end in stretches + [(page.start, page.end) for page in parsed.pages]:
        assert 0 <= start <= end <= len(parsed.text)
