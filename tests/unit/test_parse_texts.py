"""What each reader finds in tables, trees of values and source code that are written as text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lorestream.documents.formats import code, html, table, tree
from lorestream.documents.parse import DocumentFailed, Parsed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_tables_in_any_dialect(file: Path, delimiter: str, encoding: str) -> None:
    rows = [["Jahr", "Größe"], ["2019", '"48, 200; \t|"'], ["2020", '"zwei\nZeilen ""x"""']]
    file.write_text("\r\n".join(delimiter.join(row) for row in rows), encoding=encoding, newline="")
    assert table.parse(file).text == (
        '| Jahr | Größe |\n| --- | --- |\n| 2019 | 48, 200; \\| |\n| 2020 | zwei Zeilen "x" |'
    )


def test_rows_of_any_length_are_kept(file: Path) -> None:
    file.write_text("Title of it\n\na,b,c\n1,2\n1,2,3,4\n,,\nlast,one,x\n")
    assert table.parse(file).text == (
        "Title of it\n\n| a | b | c |\n| --- | --- | --- |\n| 1 | 2 |\n| 1 | 2 | 3 | 4 |\n\n"
        "| last | one | x |\n| --- | --- | --- |"
    )


@pytest.mark.parametrize("text", ["only\nlines\nof words", "one line", "", 'an "open quote'])
def test_what_is_no_table_is_text(file: Path, text: str) -> None:
    file.write_text(text)
    assert table.parse(file) == Parsed(text)


def test_a_wide_table_is_not_filled_up_and_a_wider_one_refused(file: Path) -> None:
    wide = ",".join(map(str, range(10_000)))
    file.write_text(f"{wide}\n" + "1,2\n" * 20_000)
    assert len(table.parse(file).text) < 400_000
    file.write_text(f"{wide},{wide}\n1,2\n")
    with pytest.raises(DocumentFailed, match="16384 columns") as failed:
        table.parse(file)
    assert failed.value.code == "too_large"


RECORD = {
    "name": "Crane 7",
    "parts": ["hook", "jib"],
    "place": {"port": "Emden", "berth": {"number": 12, "deep": True}},
    "log": [{"day": 1, "who": {"id": 7}}, {"day": 2}],
    "none": None,
}


def test_json_as_names_and_values_under_headings(file: Path) -> None:
    file.write_text(json.dumps(RECORD))
    parsed = tree.parse(file)
    assert parsed.text == (
        "name: Crane 7\nparts: hook, jib\nnone: null\n\nplace\n\nport: Emden\n\nplace.berth\n\nnumber: 12\n"
        "deep: true\n\nlog\n\nday: 1\nwho.id: 7\n\nday: 2"
    )
    assert [(one.level, one.text) for one in parsed.headings] == [(1, "place"), (2, "place.berth"), (1, "log")]


def test_json_lines_are_paragraphs(file: Path) -> None:
    file.write_text('{"a": 1.50, "b": {"c": 12345678901234567890}}\n\n{"a": "two"}\n')
    assert tree.parse(file).text == "b.c: 12345678901234567890\n\na: two".replace("b.c", "a: 1.50\n\nb\n\nc")


@pytest.mark.parametrize("text", ['{"a": ', "no json", "[" * 100_000, "", '{"a": 1}\nnot this one\n'])
def test_what_is_not_json_is_text(file: Path, text: str) -> None:
    file.write_text(text)
    assert tree.parse(file) == Parsed(text)


SOURCES = {
    "async def lift(crate):": ("import os\n\nasync def lift(crate):\n    def inner(): ...\n\nprint(lift(1))\n", 1),
    "class Crane(Base)": ("class Crane(Base):\n    def lift(self): ...\n", 1),
    "export default function Lift({ a })": ("export default function Lift({ a }) {\n  if (a) b()\n}\n", 1),
    "export const lift = async (crate) =>": ("export const lift = async (crate) => {\n}\n", 1),
    "pub(crate) fn lift<T>(crate: T) -> u8": ("use std::io;\npub(crate) fn lift<T>(crate: T) -> u8 {\n}\n", 1),
    "static int lift(struct crate *c)": ('#include "a.h"\nstatic int lift(struct crate *c)\n{\n  call(c);\n}\n', 1),
    "func (c *Crane) Lift() error": ("package main\n\nfunc (c *Crane) Lift() error {\n}\n", 2),
    "CREATE TABLE crates": ("CREATE TABLE crates (\n  id int\n);\nSELECT 1;\n", 1),
    "lift()": ("#!/bin/sh\nlift() {\n  echo up\n}\nlift\n", 1),
    "[tool.crane]": ('a = 1\n[tool.crane]\nb = ["c"]\n', 1),
    "Lifting crates": ("\\documentclass{x}\n\\section{Lifting crates}\nText.\n", 1),
}


@pytest.mark.parametrize("shown", SOURCES)
def test_source_code_as_it_is_with_its_definitions_as_headings(file: Path, shown: str) -> None:
    source, count = SOURCES[shown]
    file.write_text(source)
    parsed = code.parse(file)
    assert parsed.text == source
    assert shown.rstrip(":") in [one.text for one in parsed.headings]
    assert len(parsed.headings) == count
    for one in parsed.headings:
        assert one.text in source[one.start : one.end]


def test_tables_of_a_page_lose_nothing(file: Path) -> None:
    inner = "<table><tr><td>inner one<td>inner two</table>"
    rows = f"<tr><th colspan=2>Both|all<th>Third</tr><tr><td rowspan=2>Tall<td>{inner}<td>x</tr><tr><td>y<td>z</tr>"
    file.write_text(f"<p>Before.</p><table><caption>Name</caption>{rows}</table><p>After.</p>")
    text = html.parse(file).text
    for word in ["Before.", "Name", "Both\\|all", "Third", "Tall", "inner one", "inner two", "x", "y", "z", "After."]:
        assert word in text
    assert "|\n| --- | --- |" in text


def test_only_line_feeds_end_rows(file: Path) -> None:
    file.write_text("a,b\n1\u20282,3\x0c4\n")
    assert table.parse(file).text == "| a | b |\n| --- | --- |\n| 1 2 | 3 4 |"
