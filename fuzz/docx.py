"""Word documents: text with its headings, or a typed failure; an archive as it is, or a part of one."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

from lorestream.documents.formats import docx
from lorestream.documents.parse import DocumentFailed, checked

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
PARTS = ("word/document.xml", "word/styles.xml", "word/footnotes.xml", "docProps/core.xml")
STYLES = f'<w:styles xmlns:w="{W}"><w:style w:styleId="h"><w:name w:val="heading 1"/></w:style></w:styles>'
BODY = (
    '<w:p><w:pPr><w:pStyle w:val="h"/></w:pPr><w:r><w:t>Title</w:t></w:r></w:p>'
    '<w:p><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr><w:r><w:t>item</w:t><w:tab/><w:br/></w:r></w:p>'
    "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>a|b</w:t></w:r></w:p></w:tc><w:tc><w:p/></w:tc></w:tr></w:tbl>"
    "<w:sdt><w:sdtContent><w:p><w:r><w:del><w:t>x</w:t></w:del></w:r></w:p></w:sdtContent></w:sdt>"
)
DOCUMENT = f'<w:document xmlns:w="{W}"><w:body>{BODY}</w:body></w:document>'


def archive(parts: dict[str, bytes]) -> bytes:
    """An archive of these parts."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as made:
        for name, content in parts.items():
            made.writestr(name, content)
    return file.getvalue()


WHOLE = {"word/document.xml": DOCUMENT.encode(), "word/styles.xml": STYLES.encode()}
SEEDS = [
    archive(WHOLE),
    b"\0" + DOCUMENT.encode(),
    b"\1" + STYLES.encode(),
    b"\2<footnotes><footnote><p><r><t>note</t></r></p></footnote></footnotes>",
    b"\3<coreProperties><title>Core</title></coreProperties>",
    b'\0<!DOCTYPE d [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><d><b><p><t>&c;</t></p></b></d>',
]
FILE = Path(tempfile.mkdtemp(prefix="fuzz-docx-")) / "x.docx"


def one(data: bytes) -> None:
    """Read a document."""
    if data[:2] != b"PK":
        data = archive({**WHOLE, PARTS[(data[0] if data else 0) % len(PARTS)]: data[1:]})
    FILE.write_bytes(data)
    try:
        parsed = checked(docx.parse(FILE))
    except DocumentFailed:
        return
    for heading in parsed.headings:
        assert 0 <= heading.start <= heading.end <= len(parsed.text)
        assert 1 <= heading.level <= 9
