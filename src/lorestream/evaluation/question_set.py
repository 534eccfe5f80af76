"""Question sets: JSON lines, each a question with what is known of its answer.

``{question, answers?, document?, passage_start?, passage_end?, spans?, unanswerable?}``: ``answers`` are all that would
be right, ``document`` is a file's name (or its path in the folder of the documents), ``spans`` is a list of
``{start, end, document?, text?}``, and offsets are characters of the document's text. Other fields are allowed and mean
nothing here.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from lorestream.errors import InvalidInput

MAX_BYTES = 256 * 2**20
MAX_QUESTIONS = 200_000

_Text = Annotated[str, Meta(min_length=1, max_length=4000)]
_Answer = Annotated[str, Meta(max_length=100_000)]
_Name = Annotated[str, Meta(min_length=1, max_length=1000)]
_Offset = Annotated[int, Meta(ge=0, le=2**40)]


class Span(msgspec.Struct, frozen=True):
    """A place that answers the question, in ``document`` (default: the question's); ``text`` is what stands there."""

    start: _Offset
    end: _Offset
    document: _Name | None = None
    text: _Answer | None = None


class _Line(msgspec.Struct, frozen=True):
    question: _Text
    answers: Annotated[list[_Answer], Meta(max_length=1000)] = []
    document: _Name | None = None
    passage_start: _Offset | None = None
    passage_end: _Offset | None = None
    spans: Annotated[list[Span], Meta(max_length=1000)] = []
    unanswerable: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """One question; every span names its document. ``key`` is the same for the same question with the same answers."""

    key: str
    question: str
    answers: tuple[str, ...]
    document: str | None
    spans: tuple[Span, ...]
    unanswerable: bool


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """The questions of one file in its order, and the SHA-256 of its bytes."""

    name: str
    sha256: str
    examples: Sequence[Example]

    def sample(self, limit: int | None, seed: int) -> Sequence[Example]:
        """``limit`` of the questions, by chance but the same ones for the same seed; in the order of the file."""
        if limit is None or limit >= len(self.examples):
            return self.examples
        chosen = random.Random(seed).sample(range(len(self.examples)), limit)  # noqa: S311
        return [self.examples[index] for index in sorted(chosen)]


def read(path: Path) -> QuestionSet:
    """Read a set. Raises InvalidInput, which names the line and what is wrong with it."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidInput(f"{path}: larger than {MAX_BYTES // 2**20} MiB, which no question set is.")
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or 'cannot be read'}.") from error
    examples: dict[str, Example] = {}
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            try:
                example = _example(line)
            except msgspec.DecodeError as error:
                raise InvalidInput(f"{path}, line {number}: {error}") from error
            examples.setdefault(example.key, example)
        if len(examples) > MAX_QUESTIONS:
            raise InvalidInput(f"{path}: more than {MAX_QUESTIONS} questions.")
    if not examples:
        raise InvalidInput(f"{path}: there is no question in it.")
    return QuestionSet(path.name, hashlib.sha256(content).hexdigest(), list(examples.values()))


def _example(raw: bytes) -> Example:
    line = msgspec.json.decode(raw, type=_Line)
    spans = list(line.spans)
    if line.passage_start is not None and line.passage_end is not None:
        spans.append(Span(line.passage_start, line.passage_end))
    elif line.passage_start is not None or line.passage_end is not None:
        raise msgspec.ValidationError("passage_start and passage_end belong together")
    for span in spans:
        if span.end <= span.start:
            raise msgspec.ValidationError(f"a span from {span.start} to {span.end} is empty")
        if not (span.document or line.document):
            raise msgspec.ValidationError("offsets need a document to be in")
    if line.unanswerable and (spans or any(line.answers)):
        raise msgspec.ValidationError("it is called unanswerable and has an answer")
    answers = tuple(answer for answer in line.answers if answer.strip())
    named = tuple(msgspec.structs.replace(span, document=span.document or line.document) for span in spans)
    known = [line.question, answers, line.document, named, line.unanswerable]
    key = hashlib.sha256(msgspec.json.encode(known)).hexdigest()[:24]
    return Example(key, line.question, answers, line.document, named, line.unanswerable)
