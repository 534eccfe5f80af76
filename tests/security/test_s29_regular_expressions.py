"""S29: no regular expression of ours takes longer than 100 ms for a megabyte, whatever is in it."""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import pkgutil
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import lorestream

ROOT = Path(lorestream.__file__).parent
WEB = Path(__file__).parents[2] / "web"
SIZE = 1_000_000
SECONDS = 0.1
# On a machine that has much else to do; what grows faster than its input takes minutes, not a little longer.
ALLOWANCE = 3
CALLS = {"match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer"}
# Each alone, a million times over, between something that begins a match and something that ends none.
UNITS = [
    *("a", "0", "_", "-", ".", ":", "/", "\\", "#", "(", "[", "<", '"', "é", "字", " ", "\n", "\r\n", "\u3000"),
    *("a ", "a.", "a@", "0.", "[0, ", "[0]", "](", "\n\n", " \n", "http://a", "e.g. ", "``` ", "a:"),
]
# Only these matter below the whole size: they show what grows faster than the input before it takes for ever.
STEPS = (SIZE // 50, SIZE)
MATCHES = 100  # a million matches take their time, too

TEXTS = r"""
const ts = require(process.argv[1] + "/node_modules/typescript");
const fs = require("fs"), path = require("path");
const found = {};
const walk = (folder) => fs.readdirSync(folder, { withFileTypes: true }).forEach((entry) => {
  const file = path.join(folder, entry.name);
  if (entry.isDirectory()) return walk(file);
  if (!/\.tsx?$/.test(file) || /\.test\.tsx?$/.test(file)) return;
  const visit = (node) => {
    if (ts.isRegularExpressionLiteral(node)) found[node.text] = file;
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, fs.readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true));
});
for (const folder of ["src", "packages/client/src", "packages/react/src"]) walk(path.join(process.argv[1], folder));
const { units, steps, seconds } = JSON.parse(fs.readFileSync(0, "utf8"));
const slow = [];
for (const [text, file] of Object.entries(found)) {
  const end = text.lastIndexOf("/");
  const make = () => new RegExp(text.slice(1, end), text.slice(end + 1).replace("y", ""));
  attacks: for (const unit of units) for (const size of steps) {
    const input = unit.repeat(Math.floor(size / unit.length)) + "\0";
    let took = Infinity;
    for (let again = 0; again < 3 && took > seconds; again++) {
      const began = process.cpuUsage();
      let matches = 0, at = make();
      at = new RegExp(at.source, at.flags.replace("g", "") + "g");
      while (matches++ < 100) { const one = at.exec(input); if (!one) break; if (!one[0]) at.lastIndex++; }
      const used = process.cpuUsage(began);
      took = Math.min(took, (used.user + used.system) / 1e6);
    }
    if (took > seconds) {
      slow.push(`${path.basename(file)}: ${text} takes ${took} s for ${size} of ${JSON.stringify(unit)}`);
      break attacks;
    }
  }
}
console.log(JSON.stringify({ found: Object.keys(found).length, slow }));
"""


def modules() -> Iterator[Any]:
    for found in pkgutil.walk_packages([str(ROOT)], "lorestream."):
        if "__main__" not in found.name and ".migrations" not in found.name:
            yield importlib.import_module(found.name)


def patterns_of(value: Any) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from patterns_of(one)
    elif isinstance(value, (tuple, list, frozenset, set)):
        for one in value:
            yield from patterns_of(one)
    elif isinstance(value, type) and value.__module__.startswith("lorestream"):
        for one in vars(value).values():
            if isinstance(one, re.Pattern):
                yield one


def searched() -> set[str]:
    """The names of what is looked for anywhere in a text, and not only matched at its beginning."""
    found = set()
    for source in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Attribute) and node.attr in CALLS - {"match", "fullmatch"}:
                found.add(ast.unparse(node.value).rpartition(".")[2])
    return found


def compiled() -> dict[tuple[Any, int], str]:
    """The regular expressions that modules and classes keep, and where."""
    found: dict[tuple[Any, int], str] = {}
    for module in modules():
        for name, value in list(vars(module).items()):
            anchored = isinstance(value, re.Pattern) and name not in SEARCHED
            for pattern in patterns_of(value):
                text: Any = pattern.pattern
                if anchored:
                    text = b"\\A(?:" + text + b")" if isinstance(text, bytes) else "\\A(?:" + text + ")"
                found.setdefault((text, pattern.flags & ~re.UNICODE), module.__name__)
    return found


def inline() -> dict[tuple[Any, int], str]:
    """Those that are written where they are used."""
    found: dict[tuple[Any, int], str] = {}
    for source in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            of_re = isinstance(node.func.value, ast.Name) and node.func.value.id == "re"
            if of_re and node.func.attr in CALLS and isinstance(node.args[0], ast.Constant):
                text = str(node.args[0].value)
                anchored = node.func.attr in {"match", "fullmatch"}
                found[rf"\A(?:{text})" if anchored else text, 0] = source.name
    return found


SEARCHED = searched()
OURS = {**compiled(), **inline()}


def seconds_for(pattern: re.Pattern[Any], text: Any) -> float:
    """CPU seconds to look through a text, at best of three."""
    best = float("inf")
    for _ in range(3):
        began = time.process_time()
        for _found in itertools.islice(pattern.finditer(text), MATCHES):
            pass
        best = min(best, time.process_time() - began)
        if best < SECONDS:
            break
    return best


@pytest.fixture(scope="module")
def slowness() -> float:
    """How much slower than ours this machine is: 1, or more."""
    took = min(seconds_for(re.compile("[^a]b"), "a" * 10 * SIZE) for _ in range(3))
    return ALLOWANCE * max(1.0, took / 0.1)


def test_the_search_finds_them() -> None:
    assert len(OURS) > 40
    places = set(OURS.values())
    assert {"lorestream.middleware", "lorestream.settings", "settings.py"} <= places


@pytest.mark.parametrize(("pattern", "flags"), OURS, ids=[f"{place}-{n}" for n, place in enumerate(OURS.values())])
def test_a_megabyte_takes_no_more_than_100_ms(pattern: Any, flags: int, slowness: float) -> None:
    compiled_one = re.compile(pattern, flags)
    for unit, size in itertools.product(UNITS, STEPS):
        text = attack(unit, size)
        took = seconds_for(compiled_one, text.encode() if isinstance(pattern, bytes) else text)
        assert took < SECONDS * slowness, (pattern, took, size, unit)


@cache
def attack(unit: str, size: int) -> str:
    """So much of it, and then something that ends no match."""
    return unit * (size // len(unit)) + "\0"


@pytest.mark.skipif(not shutil.which("node"), reason="the page's sources are read with Node.js")
def test_the_pages_expressions_take_no_more_either(slowness: float) -> None:
    attacks = {"units": UNITS, "steps": STEPS, "seconds": SECONDS * slowness}
    ran = subprocess.run(
        ["node", "-e", TEXTS, str(WEB)], input=json.dumps(attacks), capture_output=True, text=True, check=True
    )
    found = json.loads(ran.stdout)
    assert found["found"] > 5
    assert not found["slow"], "\n".join(found["slow"])
