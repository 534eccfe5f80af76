"""Tables, trees of values and source code: text with its headings; of a table no cell is lost."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lorestream.documents.formats import code, table, tree
from lorestream.documents.parse import DocumentFailed, checked

READERS = (table, tree, code)
SEEDS = [
    b'\0a,b\n1,"x, ""y"""\n\n,,\n1,2,3\n', b"\0a;b;c\r\n1;2;3\r\n", b"\0a\tb\n1\t2\n", b"\0\xef\xbb\xbfa|b\n1|\\|\n",
    b'\1{"a": {"b": [1, {"c": null}]}, "d": [1.50, "e"]}', b'\1{"a": 1}\n{"a": [2]}\n', b"\1[[[[[[]]]]]]", b'\1"x"',
    b"\2def f():\n    pass\nclass A(B):\n", b"\2static int f(int a)\n{\n}\n[x.y]\n",
    b"\2\\section{A} B\nCREATE TABLE c (\n",
]  # fmt: skip
FILE = Path(tempfile.mkdtemp(prefix="fuzz-texts-")) / "x"


def one(data: bytes) -> None:
    """Read a file."""
    FILE.write_bytes(data[1:])
    try:
        parsed = checked(READERS[(data[0] if data else 0) % len(READERS)].parse(FILE))
    except DocumentFailed:
        return
    last = 0
    for heading in parsed.headings:
        assert last <= heading.start < heading.end <= len(parsed.text)
        assert 1 <= heading.level <= 9
        last = heading.end
