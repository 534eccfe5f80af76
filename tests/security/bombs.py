"""Small files that become large, or take for ever, where they are read without limits. All made here."""

from __future__ import annotations

import io
import random
import zipfile
import zlib
from collections.abc import Callable

from tests.fakes.files import W, paragraph

MIB = 1024 * 1024


def _docx(parts: dict[str, bytes], level: int = 9) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


def _document(body: str, before: str = "") -> bytes:
    return f'{before}<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>'.encode()


def thousand_to_one() -> bytes:
    """A Word document that deflate packed 1000:1."""
    return _docx({"word/document.xml": _document(paragraph("A" * (32 * MIB)))})


def one_long_text() -> bytes:
    """Some 230 KB, not too well packed, with one text of 20 MB: readers of whole trees take twenty times as much."""
    chance = random.Random(1)
    lines = ["".join(chance.choices("abcdefgh ", k=250)) for _ in range(8)]
    return _docx({"word/document.xml": _document(paragraph("".join(chance.choices(lines, k=20 * MIB // 250))))})


def lying_about_its_size() -> bytes:
    """An archive whose directory says that its part is small."""
    whole = bytearray(_docx({"word/document.xml": _document(paragraph("B" * (32 * MIB)))}))
    for at, offset in ((whole.rfind(b"PK\x01\x02"), 24), (whole.find(b"PK\x03\x04"), 22)):
        whole[at + offset : at + offset + 4] = (1000).to_bytes(4, "little")
    return bytes(whole)


def nested_archives() -> bytes:
    """Archives in archives, each ten times the one inside."""
    content = b"0" * (10 * MIB)
    for depth in range(5):
        content = _docx({f"{depth}/{number}.zip": content for number in range(10)}, level=1)
    return _docx({"word/document.xml": _document(paragraph("hello")), "word/embeddings/a.zip": content})


def many_entries() -> bytes:
    """More parts than any document has."""
    parts = {f"word/media/{number}": b"" for number in range(12_000)}
    return _docx({"word/document.xml": _document(paragraph("hello")), **parts}, level=0)


def billion_laughs() -> bytes:
    """Entities in entities."""
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    return _docx({"word/document.xml": _document(paragraph("&e11;"), f'<!DOCTYPE d [<!ENTITY e0 "ha">{entities}]>')})


def quadratic_blowup() -> bytes:
    """One long entity, often."""
    entity = f'<!DOCTYPE d [<!ENTITY e "{"x" * 100_000}">]>'
    return _docx({"word/document.xml": _document(paragraph("&e;" * 20_000), entity)})


def deep_tree() -> bytes:
    """Elements in elements, deeper than any stack, in an archive that is not packed too well."""
    padding = random.Random(2).randbytes(100_000)
    return _docx({"word/document.xml": _document("<w:sdt>" * 300_000 + "</w:sdt>" * 300_000), "word/x": padding})


def _pdf(objects: list[bytes]) -> bytes:
    content, offsets = bytearray(b"%PDF-1.5\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = b"xref\n0 %d\n0000000000 65535 f \n%btrailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    return bytes(content) + end % (len(objects) + 1, table, len(objects) + 1, len(content))


def _stream(data: bytes, filters: bytes, more: bytes = b"") -> bytes:
    return b"<< /Length %d /Filter [%b] %b >> stream\n%b\nendstream" % (len(data), filters, more, data)


def flate_bomb() -> bytes:
    """A page whose content was deflated three times: one KB for 84 MB of instructions."""
    data = zlib.compress(b"(A) Tj " * (12 * MIB), 9)
    data = zlib.compress(zlib.compress(data, 9), 9)
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>"
    return _pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>", page,
            _stream(data, b"/FlateDecode /FlateDecode /FlateDecode"),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        ]
    )  # fmt: skip


def page_loop() -> bytes:
    """Pages that are their own parents and children, of which there are said to be a billion."""
    return _pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R /Outlines 4 0 R >>",
            b"<< /Type /Pages /Kids [2 0 R 3 0 R 2 0 R] /Count 1000000000 /Parent 3 0 R >>",
            b"<< /Type /Pages /Kids [2 0 R 3 0 R] /Count 1000000000 /Parent 2 0 R >>",
            b"<< /First 4 0 R /Last 4 0 R /Next 4 0 R /Prev 4 0 R /Parent 4 0 R /Count 99 >>",
        ]
    )


def form_loop() -> bytes:
    """Forms that paint each other ten times, ten deep, and the last one the first."""
    resources = b"/Resources << /Font << /F 3 0 R >> /XObject << %b >> >>"
    forms = []
    for number in range(12):
        following = 5 + (number + 1) % 12
        inner = b"BT /F 9 Tf (loop) Tj ET " + b"/X Do " * 10
        head = b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] " + resources % (b"/X %d 0 R" % following)
        forms.append(b"<< /Length %d %b >> stream\n%b\nendstream" % (len(inner), head, inner))
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R " + resources % b"/X 5 0 R" + b" >>"
    pages = b"<< /Type /Pages /Kids [%d 0 R] /Count 1 >>" % (5 + 12)
    font, content = (
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Length 5 >> stream\n/X Do\nendstream",
    )
    return _pdf([b"<< /Type /Catalog /Pages 2 0 R >>", pages, font, content, *forms, page])


def deep_page() -> bytes:
    """HTML in which every element is in the one before."""
    return b"<html><body>" + b"<div><b>" * 200_000 + b"text of the page"


R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
P = "http://schemas.openxmlformats.org/presentationml/2006/main"
A = "http://schemas.openxmlformats.org/drawingml/2006/main"
S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def _relations(*targets: tuple[str, str]) -> bytes:
    links = "".join(
        f'<Relationship Id="r{n}" Type="{R}/{kind}" Target="{to}"/>' for n, (kind, to) in enumerate(targets)
    )
    return f'<Relationships xmlns="{R.replace("officeDocument", "package")}">{links}</Relationships>'.encode()


def _lines(count: int) -> str:
    """Lines that deflate packs some 60 to one, as it does real XML."""
    chance = random.Random(3)
    return "".join(f"<a:p><a:r><a:t>{chance.getrandbits(16)} crates</a:t></a:r></a:p>" for _ in range(count))


def long_slide() -> bytes:
    """A slide of 440 000 paragraphs, whose tree would take gigabytes."""
    text = _lines(20_000) * 22
    slide = f'<p:sld xmlns:p="{P}" xmlns:a="{A}"><p:sp><p:txBody>{text}</p:txBody></p:sp></p:sld>'
    return _docx(
        {
            "ppt/presentation.xml": f'<p:presentation xmlns:p="{P}" xmlns:r="{R}"><p:sldIdLst><p:sldId r:id="r0"/>'
            "</p:sldIdLst></p:presentation>".encode(),
            "ppt/_rels/presentation.xml.rels": _relations(("slide", "slides/slide1.xml")),
            "ppt/slides/slide1.xml": slide.encode(),
        },
        level=6,
    )


def _xlsx(sheet: str, strings: str = "") -> bytes:
    types = "http://schemas.openxmlformats.org/package/2006/content-types"
    office = "application/vnd.openxmlformats-officedocument.spreadsheetml."
    named = {"workbook": "sheet.main", "worksheets/sheet1": "worksheet", "sharedStrings": "sharedStrings"}
    listed = "".join(
        f'<Override PartName="/xl/{part}.xml" ContentType="{office}{kind}+xml"/>' for part, kind in named.items()
    )
    return _docx(
        {
            "[Content_Types].xml": f'<Types xmlns="{types}">{listed}</Types>'.encode(),
            "_rels/.rels": _relations(("officeDocument", "xl/workbook.xml")),
            "xl/workbook.xml": f'<workbook xmlns="{S}" xmlns:r="{R}"><sheets><sheet name="S" sheetId="1" r:id="r0"/>'
            "</sheets></workbook>".encode(),
            "xl/_rels/workbook.xml.rels": _relations(
                ("worksheet", "worksheets/sheet1.xml"), ("sharedStrings", "sharedStrings.xml")
            ),
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{S}">{sheet}</worksheet>'.encode(),
            "xl/sharedStrings.xml": f'<sst xmlns="{S}">{strings}</sst>'.encode(),
        }
    )


def wide_rows() -> bytes:
    """Rows that say they begin in the first column and have their one cell in the last: 300 million cells."""
    chance = random.Random(4)
    rows = "".join(f'<row r="{n}"><c r="XFD{n}"><v>{chance.random()}</v></c></row>' for n in range(1, 20_000))
    return _xlsx(f'<dimension ref="A1:XFD1048576"/><sheetData>{rows}</sheetData>')


def last_cell() -> bytes:
    """A sheet of the largest size with one cell."""
    cell = '<row r="1048576"><c r="XFD1048576"><v>42</v></c></row>'
    return _xlsx(f'<dimension ref="A1:XFD1048576"/><sheetData>{cell}</sheetData>')


def shared_string() -> bytes:
    """One long string that every cell has: 6 GB of text in 200 KB."""
    chance = random.Random(5)
    string = "".join(chance.choices([f"{n:08d} crates " for n in range(500)], k=20_000))
    rows = "".join(f'<row r="{n}"><c t="s" r="A{n}"><v>0</v></c></row>' for n in range(1, 20_000))
    return _xlsx(f"<sheetData>{rows}</sheetData>", f"<si><t>{string}</t></si>")


def repeated_chapter() -> bytes:
    """A book that has its one long chapter ten thousand times."""
    lines = "".join(f"<p>{random.Random(n).getrandbits(64)} crates</p>" for n in range(300))
    spine = '<itemref idref="a"/>' * 10_000
    package = f'<package><manifest><item id="a" href="a.html" media-type="text/html"/></manifest><spine>{spine}</spine>'
    return _docx(
        {
            "mimetype": b"application/epub+zip",
            "META-INF/container.xml": b'<container><rootfiles><rootfile full-path="a.opf"/></rootfiles></container>',
            "a.opf": f"{package}</package>".encode(),
            "a.html": f"<html><body>{lines}</body></html>".encode(),
        }
    )


def million_columns() -> bytes:
    """A million columns in some rows, one in a hundred thousand others."""
    wide = b",".join(b"%d" % n for n in range(1_000_000))
    return wide + b"\n" + b"1\n" * 100_000 + wide


def deep_json() -> bytes:
    """Lists in lists, deeper than any stack."""
    return b"[" * 5_000 + b"]" * 5_000


def deep_but_readable_json() -> bytes:
    """Objects in objects, as deep as the decoder goes, the same names on the way often."""
    return b'{"a":' * 900 + b'"text"' + b"}" * 900


def huge_page() -> bytes:
    """A page of kilometres, and an image on it of 900 million pixels."""
    pixels = zlib.compress(bytes(30_000 * 30_000 // 8), 9)
    image = b"/Type /XObject /Subtype /Image /Width 30000 /Height 30000 /BitsPerComponent 1 /ColorSpace /DeviceGray"
    inner = b"q 14400000 0 0 14400000 0 0 cm /X Do Q"
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 14400000 14400000] /Contents 4 0 R /Resources "
    return _pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            page + b"<< /XObject << /X 5 0 R >> >> >>",
            b"<< /Length %d >> stream\n%b\nendstream" % (len(inner), inner),
            _stream(pixels, b"/FlateDecode", image),
        ]
    )  # fmt: skip


Bomb = tuple[str, Callable[[], bytes], set[str]]
# Each with its ending, and the codes of which it must end with one; "ready" where nothing of it is dangerous to read.
BOMBS: dict[str, Bomb] = {
    "thousand-to-one": (".docx", thousand_to_one, {"too_large"}),
    "lying-about-its-size": (".docx", lying_about_its_size, {"too_large", "broken"}),
    "nested-archives": (".docx", nested_archives, {"ready"}),  # what is embedded is not read at all
    "many-entries": (".docx", many_entries, {"too_large"}),
    "billion-laughs": (".docx", billion_laughs, {"broken"}),
    "quadratic-blowup": (".docx", quadratic_blowup, {"broken", "too_large"}),
    "deep-tree": (".docx", deep_tree, {"broken", "memory", "too_large", "no_text", "empty"}),
    "flate-bomb": (".pdf", flate_bomb, {"memory", "timeout", "too_large", "broken", "no_text"}),
    "page-loop": (".pdf", page_loop, {"broken", "no_text", "memory", "timeout", "too_large"}),
    "form-loop": (".pdf", form_loop, {"broken", "memory", "timeout"}),
    "long-slide": (".pptx", long_slide, {"too_large"}),
    "wide-rows": (".xlsx", wide_rows, {"too_large"}),
    "last-cell": (".xlsx", last_cell, {"ready"}),
    "shared-string": (".xlsx", shared_string, {"too_large", "memory"}),
    "repeated-chapter": (".epub", repeated_chapter, {"ready", "too_large"}),
    "million-columns": (".csv", million_columns, {"too_large"}),
    "deep-json": (".json", deep_json, {"ready"}),  # as plain text
    "deep-but-readable-json": (".json", deep_but_readable_json, {"ready"}),
    "huge-page": (".pdf", huge_page, {"no_text", "memory", "broken"}),
    "deep-page": (".html", deep_page, {"broken", "memory", "empty", "timeout"}),
}
