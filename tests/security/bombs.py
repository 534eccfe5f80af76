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
    "deep-page": (".html", deep_page, {"broken", "memory", "empty", "timeout"}),
}
