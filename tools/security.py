"""Generate docs/security.md: the attacks that Lorestream withstands, what holds against each, and the tests of it.

The tests of a row are those in tests/security/test_sNN_*.py, found by their names; a row without any fails, so that the
page cannot claim what nothing tries. ``--check`` writes nothing and fails when the page differs from what there is.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "security.md"
TESTS = ROOT / "tests" / "security"

# Each row: its attack, and indented what holds against it.
ROWS_TEXT = """\
S01 Somebody follows, resumes, stops or reads another user's stream by its id.
    The owner is part of every look-up of a run: the same 404 in the same time as for an id that is nowhere.
S02 Another user's id, in any field of any request.
    Every statement names the owner. The routes and their ids are taken from the API's description: a new field that
    looks like an id has its probes, or the test fails.
S03 Another user's document is attached to something of one's own, and read through it later.
    Refused when it is written, and looked up with its owner again whenever it is read.
S04 A search that names another user's index, or reaches over from one's own.
    No request names an index. The owner limits both searches before anything is ranked, so that scores tell nothing
    either.
S05 A disabled user goes on by another way to authenticate.
    One way for all routes learns who is asking, and reads it from the database at each request; open streams are
    looked after.
S06 A setting that turns the check of owners off.
    There is none: S02 under every kind of registration.
S07 Script in an answer, a document, a file name, a title or a user's name.
    All of it is text on the page: Markdown without HTML, links of three kinds only, a Content-Security-Policy
    without inline script, no token in any storage.
S08 An answer that makes the browser fetch an address with data in it.
    Images of answers are links, nothing is previewed, and the policy allows the page's own origin alone.
S09 An address in a field, or in a document, that the server fetches.
    Nothing is fetched from any address but the models' servers that the settings name.
S10 A request that says which server to ask, or a server that sends the key elsewhere.
    Only the settings name servers; unknown fields and models that are not offered are refused; no redirect is
    followed.
S11 A file's name as a path, a header or markup.
    Files are stored under ids of ours. A name is a cleaned label, and a coded parameter where it is sent.
S12 A path in a request that reaches the file system.
    No request has a field that is opened.
S13 A small file that unpacks to gigabytes, or is read for ever.
    Documents are read one by one in a child process with limits of memory, processor, time and files; what goes
    over fails with its reason. What a ZIP file of documents claims is bounded before it is unpacked, and held to then.
S14 A Word document whose archive or whose XML is a bomb.
    Entries, sizes and ratio are looked at before unpacking, bytes are counted while it goes on, no tree of the
    whole is built, entities do not multiply.
S15 A request that costs far more than it sends: ranges, fields, bodies without end.
    Sizes are bounded before anything is read, counts before anything is parsed.
S16 A Host that leads the server's own links elsewhere.
    Hosts can be listed, and no absolute address is made of a request.
S17 A default secret, or one that can be guessed.
    32 random bytes, made at the first start, readable by the owner alone; placeholders are refused.
S18 Access tokens that are forged: other algorithms, keys, claims or kinds.
    One algorithm, keys by name out of a ring, every claim required and of its type.
S19 Another site's page uses a visitor's cookie.
    The cookie is SameSite=Strict and only for the page's own requests, as the browser states them; no other origin
    may read an answer unless the settings name it.
S20 A logout that leaves something valid.
    The cookie is cleared as it was set, and the login ends on the server with all its tokens.
S21 Tokens in addresses, and so in logs, histories and referrers.
    Tokens are read from the Authorization header alone, and are in no log.
S22 Forged addresses of clients, to get around limits.
    X-Forwarded-For counts only from proxies that the settings name; naming all of them is refused.
S23 Numbers and texts without bounds.
    Every field has its bounds, unknown ones are refused, and nothing of a request goes to a model as an option.
S24 A body that crashes the server.
    Every route, tried with every wrong body: never a 5xx.
S25 Work before it is known who asks.
    Without a login: 401, and nothing written, opened or connected.
S26 Data that becomes code or a statement.
    What users and models write is stored as it is and never loaded; SQL has bind parameters only.
S27 A model's server, reached through this one.
    Of it only chats, embeddings and lists of models are asked, and no other path leads there.
S28 Timing that tells whether an account exists.
    An unknown account costs the same hash as a wrong password.
S29 A text that keeps a regular expression busy.
    Each of ours takes a hostile megabyte in bounded time.
"""
MORE: dict[str, str] = {
    "poisoned_documents": "Fifty documents that give orders, and a model that obeys them",
    "owasp_rag": "The cases of OWASP's RAG Security Cheat Sheet, by name",
    "llm10_consumption": "Unbounded consumption (OWASP LLM10): each limit of a user",
    "headers_of_every_answer": "The headers of every kind of answer",
    "refresh_families": "Families of refresh tokens, driven at random",
    "documents_owner": "The owner of documents, in their own area",
}
HEAD = """\
# Attacks, and what holds against them

Generated from the tests by `make wire`. Each row has gone wrong in a comparable product; its tests are in
[tests/security](../tests/security) and run with `make test`.

| | attack | what holds | tests |
|---|---|---|---|"""
PROMPT = """\
## What a model is given, and what becomes of what it says

No prompt keeps a model from obeying a text that it reads; so nothing depends on it.

- Passages stand between marks with a number that is drawn for each prompt, and the rules call them data. What looks
  like such a mark in a passage or title is defused.
- The model reads what a person sees: zero-width and direction characters, soft hyphens, fillers, tag characters and
  rows of joiners or variation selectors are left out of the prompt. Joiners and marks that scripts and emoji need stay.
  In the extracted text, tag characters (but for flags) and direction overrides become a visible U+FFFD, one for one, so
  that a reader of the document sees that something was there and every offset stays.
- It is offered no tool and no function, and gets nothing but one user's question, history and passages. The rules are
  no secret and hold none.
- What it says is text: rendered without HTML and without fetching anything. Sources are the server's; a number that is
  none of them is dropped. A link in an answer shows its address and leads away only when it is clicked, which is the
  one way left by which a document can ask a person for something.
"""


def rows() -> dict[str, tuple[str, str]]:
    """Attack and what holds, by the row's name."""
    found = re.findall(r"^(S\d\d) (.+)\n((?:    .+\n)+)", ROWS_TEXT, re.MULTILINE)
    return {name: (attack, " ".join(holds.split())) for name, attack, holds in found}


def tests_of(pattern: str) -> list[str]:
    """The tests in the files of this pattern, as ``file::name``."""
    return [
        f"`{path.name}::{node.name}`"
        for path in sorted(TESTS.glob(pattern))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]


def page() -> str:
    """The whole page. Fails for a row without a test, and for a test of no row."""
    described = rows()
    tests = {name: tests_of(f"test_{name.lower()}_*.py") for name in described}
    if missing := [name for name, found in tests.items() if not found]:
        sys.exit(f"no tests/security/test_sNN_*.py for {', '.join(missing)}")
    stems = {path.stem.removeprefix("test_") for path in TESTS.glob("test_*.py")}
    if strange := {stem for stem in stems if stem[:3].upper() not in described and stem not in MORE}:
        sys.exit(f"tests/security has tests that tools/security.py does not describe: {sorted(strange)}")
    lines = [HEAD]
    lines += [f"| {name} | {' | '.join(described[name])} | {'<br>'.join(found)} |" for name, found in tests.items()]
    lines += ["", PROMPT, "## More"]
    for stem, title in MORE.items():
        lines += ["", f"{title}:", "", *(f"- {one}" for one in tests_of(f"test_{stem}.py"))]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page, or with ``--check`` compare it."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text)
    elif not PAGE.is_file() or PAGE.read_text() != text:
        sys.exit("docs/security.md is not what the tests say; run `make wire`")


if __name__ == "__main__":
    main()
