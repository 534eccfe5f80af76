"""What each reader finds in small presentations, workbooks and books, made by the usual libraries or by hand."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pptx
import pytest
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from lorestream.documents.formats import archive, epub, xlsx
from lorestream.documents.formats import pptx as reader
from lorestream.documents.parse import DocumentFailed, Parsed
from tests.fakes import files

OPF = "http://www.idpf.org/2007/opf"
HALF_PAST = datetime.datetime.fromisoformat("2024-02-29T07:30")
CHART = "|  | Lifts |\n| --- | --- |\n| Spring | 120 |\n| Autumn | 80.5 |"
PLACE = (Inches(1), Inches(1), Inches(4), Inches(2))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def headings(parsed: Parsed) -> list[tuple[int, str]]:
    assert all(parsed.text[one.start : one.end].strip("# ") == one.text for one in parsed.headings)
    return [(one.level, one.text) for one in parsed.headings]


@pytest.fixture
def slides(file: Path) -> Path:
    show = pptx.Presentation()
    first = show.slides.add_slide(show.slide_layouts[1])
    box = first.shapes.add_textbox(*PLACE)
    box.text_frame.text = "Beside the list."
    first.placeholders[1].text_frame.text = "Lift slowly"
    first.placeholders[1].text_frame.add_paragraph().text = "Look up"
    first.shapes.title.text = "The crane\vin use"
    first.notes_slide.notes_text_frame.text = "Say it twice."
    second = show.slides.add_slide(show.slide_layouts[6])
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(*PLACE).text_frame.text = "In a group."
    table = second.shapes.add_table(2, 2, *PLACE).table
    for place, text in {(0, 0): "Year", (0, 1): "Tonnes|net", (1, 0): "2019", (1, 1): "48\n200"}.items():
        table.cell(*place).text = text
    data = CategoryChartData()  # type: ignore[no-untyped-call]
    data.categories = ["Spring", "Autumn"]
    data.add_series("Lifts", (120, 80.5))  # type: ignore[no-untyped-call]
    chart = second.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *PLACE, data).chart
    chart.has_title = True
    chart.chart_title.text_frame.text = "Lifts in a year"
    show.save(str(file))
    return file


def test_slides_are_pages_under_their_titles(slides: Path) -> None:
    parsed = reader.parse(slides)
    assert [parsed.text[page.start : page.end] for page in parsed.pages] == [
        "The crane in use\n\n- Lift slowly\n- Look up\n\nBeside the list.\n\nNotes: Say it twice.",
        "In a group.\n\n| Year | Tonnes\\|net |\n| --- | --- |\n| 2019 | 48 200 |\n\nLifts in a year\n\n" + CHART,
    ]
    assert [(page.number, page.words) for page in parsed.pages] == [(1, None), (2, None)]
    assert (parsed.title, headings(parsed)) == ("The crane in use", [(1, "The crane in use")])


def test_slides_come_in_their_order_and_damaged_pictures_do_not_matter(slides: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned.pptx"
    with zipfile.ZipFile(slides) as old, zipfile.ZipFile(turned, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "ppt/presentation.xml":
                content = content.replace(b'<p:sldId id="256"', b'<p:sldId id="300"', 1)
                one, two = content.index(b"<p:sldId "), content.rindex(b"<p:sldId ")
                end = content.index(b"</p:sldIdLst>")
                content = content[:one] + content[two:end] + content[one:two] + content[end:]
            new.writestr(name, b"damaged" if "/media/" in name or name.endswith(".jpeg") else content)
    assert reader.parse(turned).text.startswith("In a group.")


def test_a_workbook_as_tables_under_the_names_of_its_sheets(file: Path) -> None:
    book = openpyxl.Workbook()
    first = book.active
    first.title = "Lifts"
    for row in [
        [None, "Lifts of the year"],
        [None, "Day", "Tonnes", "Late", "At"],
        [None, datetime.date(2024, 2, 29), 48.0, False, HALF_PAST],
        [None, datetime.date(2024, 3, 1), 0.25, True, None, "beyond"],
        [],
        [None, None, "Apart"],
    ]:
        first.append(row)
    book.create_sheet("Empty")
    hidden = book.create_sheet("Hidden")
    hidden.sheet_state = "hidden"
    hidden.append(["a|b", "=1+1"])
    book.save(file)
    parsed = xlsx.parse(file)
    assert parsed.text == (
        "Lifts\n\nLifts of the year\n\n| Day | Tonnes | Late | At |\n| --- | --- | --- | --- |\n"
        "| 2024-02-29 | 48 | FALSE | 2024-02-29 07:30:00 |\n| 2024-03-01 | 0.25 | TRUE |  | beyond |\n\n"
        "Apart\n\nHidden\n\na|b"
    )
    assert headings(parsed) == [(1, "Lifts"), (1, "Hidden")]
    assert parsed.title is None


def test_a_long_table_says_its_header_again(file: Path) -> None:
    book = openpyxl.Workbook()
    for number in range(300):
        book.active.append(["Number", "Weight of the crate"] if number == 0 else [number, f"{number * 37} kg"])
    book.save(file)
    blocks = xlsx.parse(file).text.split("\n\n")[1:]
    assert len(blocks) > 5
    for block in blocks:
        lines = block.split("\n")
        assert lines[:2] == ["| Number | Weight of the crate |", "| --- | --- |"]
        assert len(lines) > 2
        assert len(block) < 700
    assert [line for block in blocks for line in block.split("\n")[2:]] == [
        f"| {number} | {number * 37} kg |" for number in range(1, 300)
    ]


def test_cells_are_counted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = openpyxl.Workbook()
    book.active["ZZ1"] = "far out"
    book.save(file)
    monkeypatch.setattr(xlsx, "MAX_CELLS", 700)
    with pytest.raises(DocumentFailed, match="cells") as failed:
        xlsx.parse(file)
    assert failed.value.code == "too_large"


def book(path: Path, chapters: dict[str, str], *, more: dict[str, str] | None = None, manifest: str = "") -> Path:
    items = "".join(f'<item id="{name}" href="{name}.xhtml" media-type="application/xhtml+xml"/>' for name in chapters)
    spine = "".join(f'<itemref idref="{name}"/>' for name in chapters)
    package = (
        f'<package xmlns="{OPF}"><metadata><dc:title xmlns:dc="http://purl.org/dc/elements/1.1/">The crane book'
        f"</dc:title></metadata><manifest>{items}{manifest}</manifest><spine>{spine}</spine></package>"
    )
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("mimetype", "application/epub+zip")
        made.writestr("META-INF/container.xml", '<container><rootfile full-path="OPS/book.opf"/></container>')
        made.writestr("OPS/book.opf", package)
        for name, body in chapters.items():
            made.writestr(f"OPS/{name}.xhtml", f"<html><head><title>x</title></head><body>{body}</body></html>")
        for name, content in (more or {}).items():
            made.writestr(f"OPS/{name}", content)
    return path


def test_a_book_in_the_order_of_its_spine(file: Path) -> None:
    navigation = '<nav><ol><li><a href="zwei.xhtml#top">The <b>second</b></a></li></ol></nav>'
    parsed = epub.parse(
        book(
            file,
            {"eins": "<h1>First</h1><p>Once upon a time.</p><h2>Then</h2><p>More.</p>", "zwei": "<p>Nameless.</p>"},
            more={"nav.xhtml": f"<html><body>{navigation}</body></html>"},
            manifest='<item id="n" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>',
        )
    )
    assert parsed.text == "# First\n\nOnce upon a time.\n\n## Then\n\nMore.\n\nThe second\n\nNameless."
    assert parsed.title == "The crane book"
    assert headings(parsed) == [(1, "First"), (2, "Then"), (1, "The second")]


def test_chapters_of_an_older_book_have_their_names_from_its_ncx(file: Path) -> None:
    point = "<navPoint><navLabel><text>Old name</text></navLabel><content src='a.xhtml'/></navPoint>"
    parsed = epub.parse(
        book(
            file,
            {"a": "<p>Text.</p>"},
            more={"toc.ncx": f"<ncx><navMap>{point}</navMap></ncx>"},
            manifest='<item id="n" href="toc.ncx" media-type="application/x-dtbncx+xml"/>',
        )
    )
    assert parsed.text == "Old name\n\nText."


@pytest.mark.parametrize("parse", [reader.parse, xlsx.parse, epub.parse])
def test_archives_of_something_else_and_locked_ones_say_so(file: Path, parse: Callable[[Path], Parsed]) -> None:
    for content, code in [
        (b"", "broken"),
        (b"PK\x03\x04 damaged", "broken"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600, "encrypted"),
        (files.docx(file, files.paragraph("x")).read_bytes(), "broken"),
    ]:
        file.write_bytes(content)
        with pytest.raises(DocumentFailed) as failed:
            parse(file)
        assert failed.value.code == code


def test_a_tree_is_bounded(slides: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_TREE_BYTES", 100)
    with pytest.raises(DocumentFailed) as failed:
        reader.parse(slides)
    assert failed.value.code == "too_large"
