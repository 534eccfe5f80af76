"""What each reader finds in small files of its format."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from lorestream.documents.formats import docx, html, markdown, pdf, plain
from lorestream.documents.parse import DocumentFailed, Parsed
from tests.fakes import files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def shown(parsed: Parsed) -> list[tuple[int, str, str]]:
    return [(heading.level, heading.text, parsed.text[heading.start : heading.end]) for heading in parsed.headings]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Grüße – 日本語 🦜", "utf-8"),
        ("Grüße – 日本語 🦜", "utf-8-sig"),
        ("Grüße – 日本語 🦜", "utf-16"),
        ("Grüße – 日本語 🦜", "utf-32"),
        ("Größe", "cp1252"),
        ("Die Prüfung beginnt um zehn – wir müssen „früh“ aufstehen.", "cp1252"),
        ("El niño comió una piña; ¿dónde está la montaña?", "latin-1"),
        ("Le garçon a mangé des crêpes à Noël. Ça va très bien, n’est-ce pas ?", "cp1252"),
        ("Кран стоит в гавани. Каждое утро начальник порта подписывает журнал работы крана. " * 3, "cp1251"),
        ("日本語のテキストです。これはテストです。", "shift_jis"),
    ],
)
def test_text_in_any_common_encoding(file: Path, text: str, encoding: str) -> None:
    file.write_bytes(text.encode(encoding))
    assert plain.parse(file).text == text


def test_utf16_without_a_mark(file: Path) -> None:
    file.write_bytes("The crane is in the harbour.".encode("utf-16-le"))
    assert plain.parse(file).text == "The crane is in the harbour."


def test_a_few_bad_bytes_do_not_change_the_encoding(file: Path) -> None:
    file.write_bytes("Größe, Öl und Übung".encode() * 3 + b"\xc3")
    assert plain.parse(file).text == "Größe, Öl und Übung" * 3 + "\ufffd"


def test_line_ends_become_lf(file: Path) -> None:
    file.write_bytes(b"a\r\nb\rc\n")
    assert plain.parse(file).text == "a\nb\nc\n"


MARKDOWN = """---
date: 2024-01-01
title: "The crane book"
---
# Crane **handling** #

Intro with `# no heading`.

Lower part
----------

```sh
# a comment
```
~~~
## also not
~~~

- item
---

### [Limits](https://example.org) of snake_case
####### seven is too many
"""


def test_markdown_keeps_its_source_and_knows_its_headings(file: Path) -> None:
    file.write_text(MARKDOWN)
    parsed = markdown.parse(file)
    assert parsed.text == MARKDOWN
    assert parsed.title == "The crane book"
    assert shown(parsed) == [
        (1, "Crane handling", "# Crane **handling** #"),
        (2, "Lower part", "Lower part\n----------"),
        (3, "Limits of snake_case", "### [Limits](https://example.org) of snake_case"),
    ]


def test_markdown_takes_its_title_from_the_first_heading_of_level_one(file: Path) -> None:
    file.write_text("## Small\n\n# Large\n\n# Second\n")
    assert markdown.parse(file).title == "Large"


PAGE = """<!DOCTYPE html><html><head><meta charset="{charset}"><title>Crane &amp; hook</title>
<script>var secret = 1;</script><style>.x {{}}</style></head><body><nav><a href="/">Home</a></nav>
<article><h1>Crane</h1><p>The crane lifts {word} and crates of every size, all day long, in the old harbour.</p>
<h2>Limits</h2><ul><li>ten tonnes at most</li><li>no wind above force six</li></ul>
<table><tr><th>Year</th><th>Tonnes</th></tr><tr><td>2019</td><td><p>48</p><p>200</p></td></tr></table>
<pre>if x:
    lift()</pre><p>Every lift is written into the crane log by the harbour master before noon.</p></article>
</body></html>"""


@pytest.mark.parametrize("charset", ["utf-8", "windows-1252", "iso-8859-1"])
def test_html_as_markdown(file: Path, charset: str) -> None:
    file.write_bytes(PAGE.format(charset=charset, word="Fässer").encode(charset))
    parsed = html.parse(file)
    assert parsed.title == "Crane & hook"
    assert [(level, text) for level, text, _ in shown(parsed)] == [(1, "Crane"), (2, "Limits")]
    assert "The crane lifts Fässer and crates" in parsed.text
    assert "- ten tonnes at most\n- no wind above force six" in parsed.text
    assert "| Year | Tonnes |\n| --- | --- |\n| 2019 | 48 200 |" in parsed.text
    assert "if x:\n    lift()" in parsed.text
    assert "secret" not in parsed.text


@pytest.mark.parametrize(
    "source",
    [
        "only words",
        "<p>short",
        "<table><tr><td>only a cell</td></tr></table>",
        "<div><span>a</span><!-- comment -->only words</div>",
        "<?xml version='1.0' encoding='utf-8'?><html><body><p>only words</p></body></html>",
        "<form><label>only words</label></form>",
    ],
)
def test_no_page_with_text_ends_empty(file: Path, source: str) -> None:
    file.write_text(source)
    text = html.parse(file).text
    assert "only" in text or "short" in text
    assert "comment" not in text


def test_a_large_page_is_read_to_its_end_with_its_headings(file: Path) -> None:
    section = "<h2>Part {}</h2><p>" + "The crane lifts crates in the old harbour. " * 25 + "</p>"
    file.write_text("".join(section.format(number) for number in range(12_000)))
    parsed = html.parse(file)
    assert [heading.text for heading in parsed.headings] == [f"Part {number}" for number in range(12_000)]


def test_headings_that_the_extractor_drops_are_kept(file: Path) -> None:
    section = "<h2>Part {}</h2><table><tr><td>Year</td><td>{}</td></tr></table>"
    file.write_text("".join(section.format(number, number) for number in range(5)))
    assert len(html.parse(file).headings) == 5


def test_pdf_pages_are_numbered_from_one(file: Path) -> None:
    file.write_bytes(files.pdf([["First page.", "More of it."], [], ["Third page."]], title="The crane book"))
    parsed = pdf.parse(file)
    assert parsed.title == "The crane book"
    assert [parsed.text[page.start : page.end].split("\n")[0] for page in parsed.pages] == [
        "First page.",
        "",
        "Third page.",
    ]
    assert [page.number for page in parsed.pages] == [1, 2, 3]
    first = parsed.pages[0]
    assert (first.start, first.end) == (0, parsed.text.index("More of it.") + len("More of it."))
    assert (first.width, first.height) == (612, 792)


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_rotated_pages_are_read(file: Path, rotate: int) -> None:
    file.write_bytes(files.pdf([["Turned page."]], rotate=rotate))
    assert pdf.parse(file).text == "Turned page."


@pytest.mark.parametrize("title", ["", "untitled", "Microsoft Word - crane", "crane.docx", "12"])
def test_titles_that_say_nothing_are_none(file: Path, title: str) -> None:
    file.write_bytes(files.pdf([["x"]], title=title))
    assert pdf.parse(file).title is None


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", "broken", "damaged"),
        (b"%PDF-1.4 and nothing", "broken", "damaged"),
        (files.pdf([[], []]), "no_text", "2 pages but no text, nor anything that is drawn"),
        (files.pdf([["x"]], encryption="password"), "encrypted", "password"),
    ],
)
def test_a_pdf_that_cannot_be_read_says_why(file: Path, content: bytes, code: str, words: str) -> None:
    file.write_bytes(content)
    with pytest.raises(DocumentFailed, match=words) as failed:
        pdf.parse(file)
    assert failed.value.code == code


NUMBERED = '<w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr>'
BODY = (
    files.paragraph("The crane book", "Titel")
    + files.paragraph("Use", "berschrift1")
    + files.paragraph("Before the table.")
    + files.table([["Year", "Tonnes|net"], ["2019", "48 200"]])
    + files.paragraph("one", properties=NUMBERED)
    + files.paragraph("two", properties=NUMBERED)
    + files.paragraph("Limits", "Mine")
    + "<w:sdt><w:sdtContent>"
    + files.paragraph("In a control.")
    + "</w:sdtContent></w:sdt>"
    + "<w:p><w:r><w:t>kept</w:t><w:tab/><w:t>too</w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>"
)


@pytest.mark.parametrize("namespace", [files.W, files.W_STRICT])
def test_word_documents_of_both_dialects(file: Path, namespace: str) -> None:
    parsed = docx.parse(files.docx(file, BODY, namespace=namespace))
    assert parsed.text == (
        "The crane book\n\nUse\n\nBefore the table.\n\n| Year | Tonnes\\|net |\n| --- | --- |\n| 2019 | 48 200 |\n\n"
        "- one\n- two\n\nLimits\n\nIn a control.\n\nkept\ttoo"
    )
    assert parsed.title == "The crane book"
    assert shown(parsed) == [(1, "The crane book", "The crane book"), (1, "Use", "Use"), (2, "Limits", "Limits")]


def test_word_documents_written_by_python_docx(file: Path) -> None:
    docx_library = pytest.importorskip("docx")
    document = docx_library.Document()
    document.add_heading("Crane", 0)
    document.add_heading("Use", 1)
    document.add_paragraph("Lift slowly.")
    document.add_paragraph("first", style="List Bullet")
    document.save(str(file))
    parsed = docx.parse(file)
    assert parsed.text == "Crane\n\nUse\n\nLift slowly.\n\n- first"
    assert (parsed.title, [heading.text for heading in parsed.headings]) == ("Crane", ["Crane", "Use"])


def test_cells_over_several_columns_keep_the_others_in_theirs(file: Path) -> None:
    wide = '<w:tc><w:tcPr><w:gridSpan w:val="2"/></w:tcPr>' + files.paragraph("Both") + "</w:tc>"
    body = files.table([["a", "b", "c"]]).replace(
        "</w:tbl>", f"<w:tr>{wide}<w:tc>{files.paragraph('d')}</w:tc></w:tr></w:tbl>"
    )
    assert docx.parse(files.docx(file, body)).text == "| a | b | c |\n| --- | --- | --- |\n| Both |  | d |"
    file.write_text("<table><tr><td>a<td>b<td>c</tr><tr><td colspan=2>Both<td colspan=1e9>d</tr></table>")
    assert html.parse(file).text.endswith("| a | b | c |\n| --- | --- | --- |\n| Both | | d |")


def test_footnotes_come_last(file: Path) -> None:
    note = f'<w:footnotes xmlns:w="{files.W}"><w:footnote>{files.paragraph("The note.")}</w:footnote></w:footnotes>'
    parsed = docx.parse(files.docx(file, files.paragraph("Body."), parts={"word/footnotes.xml": note}))
    assert parsed.text == "Body.\n\nThe note."


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "broken"),
        (b"PK\x03\x04 damaged", "broken"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600, "encrypted"),
    ],
)
def test_a_word_document_that_cannot_be_read_says_why(file: Path, content: bytes, code: str) -> None:
    file.write_bytes(content)
    with pytest.raises(DocumentFailed) as failed:
        docx.parse(file)
    assert failed.value.code == code


def test_an_archive_of_something_else_is_not_a_word_document(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
    with pytest.raises(DocumentFailed, match="not a Word document"):
        docx.parse(file)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 97])
def test_a_word_document_packed_as_none_is_refused(file: Path, method: int) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED if method == 97 else method) as archive:
        archive.writestr("word/document.xml", "<x/>")
        archive.filelist[0].compress_type = method
    with pytest.raises(DocumentFailed, match="packed in a way") as failed:
        docx.parse(file)
    assert failed.value.code == "broken"


@pytest.mark.parametrize(
    "parts",
    [
        {"word/media/image1.png": b"\x00" * 50_000_000},
        {f"word/media/{n}.txt": b"x" for n in range(10_001)},
    ],
    ids=["1000 to 1", "many entries"],
)
def test_archive_bombs_are_refused_before_they_are_unpacked(file: Path, parts: dict[str, str | bytes]) -> None:
    files.docx(file, files.paragraph("x"), parts=parts)
    with pytest.raises(DocumentFailed) as failed:
        docx.parse(file)
    assert failed.value.code == "too_large"


def test_entities_do_not_expand_without_bounds(file: Path) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<!DOCTYPE d [<!ENTITY e0 "{"x" * 100}">{entities}]><w:document xmlns:w="{files.W}">&e11;</w:document>'
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("word/document.xml", bomb)
    with pytest.raises(DocumentFailed) as failed:
        docx.parse(file)
    assert failed.value.code == "broken"
