"""The built-in reader quotes exactly, quotes what answers, and says that no model is connected."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorestream.conversations import citations
from lorestream.documents.chunk import split
from lorestream.documents.parse import Parsed
from lorestream.providers.base import NO_ANSWER, Generation, Prompt, PromptPassage
from lorestream.providers.reader import ALONE, MAX_QUOTES, NOTICE, Reader
from tests.fakes.embedder import WordEmbedder

QUOTE = re.compile(r"“(.*?)” \[(\d+)\]\n\n", re.DOTALL)
pytestmark = pytest.mark.timeout(60)


async def answer(question: str, *texts: str) -> str:
    passages = [PromptPassage(number, f"Document {number}", text) for number, text in enumerate(texts, 1)]
    reader = Reader(WordEmbedder(), words_per_second=0)
    batches = [batch async for batch in reader.stream(Prompt((), question, passages), Generation())]
    return "".join(delta.text for batch in batches for delta in batch)


async def quotes(question: str, *texts: str) -> list[tuple[str, int]]:
    return [(text, int(number)) for text, number in QUOTE.findall(await answer(question, *texts))]


async def test_the_sentence_that_answers_comes_first_and_the_notice_last() -> None:
    text = await answer("What is the capital of France?", "France is a country. Paris is the capital of France.")
    assert text.startswith("“Paris is the capital of France.” [1]\n\n")
    assert text.endswith(NOTICE)
    assert "LORESTREAM_MODEL" in NOTICE
    assert "LORESTREAM_OPENAI_BASE_URL" in NOTICE


async def test_the_citation_is_that_of_the_passage() -> None:
    found = await quotes(
        "How long do refunds take?",
        "The shop opens at nine. Parking is free of charge.",
        "Shipping is free above fifty euros. Refunds take fourteen days.",
    )
    assert found[0] == ("Refunds take fourteen days.", 2)


async def test_what_does_not_answer_is_not_quoted() -> None:
    found = await quotes(
        "What is the capital of France?",
        "Paris is the capital of France. Bread is made of flour. Trams run at night.",
        "The moon has no air. Cats sleep a lot.",
    )
    assert found == [("Paris is the capital of France.", 1)]


async def test_the_same_is_not_said_twice_and_little_is_said() -> None:
    same = "The warranty of the pump lasts two years."
    found = await quotes("How long is the warranty of the pump?", same, same, f"{same} Keep the bill.", same)
    assert found == [(same, 1)]
    many = " ".join(f"The warranty of pump model {letter * 3} covers {letter * 5}." for letter in "abcdefghij")
    assert len(await quotes("What does the warranty of the pump cover?", many)) <= MAX_QUOTES


async def test_headings_tables_marks_and_questions_are_left_out() -> None:
    text = (
        "# Refund policy\n\n| refund | days |\n| cash | 14 |\n\nRefunds\nA refund takes fourteen days to arrive.\n\n"
        "- Ask the desk for a form to get a refund.\n\nHow long does a refund take?"
    )
    found = [text for text, _ in await quotes("How many days does a refund take?", text)]
    assert found[0] == "A refund takes fourteen days to arrive."
    assert not any("|" in quote or quote.startswith(("#", "-")) or "\n" in quote for quote in found)


async def test_a_question_in_the_text_leads_to_its_answer() -> None:
    found = await quotes("When do you open?", "When do you open?\n\nAt nine, save on Sundays. The cat sleeps.")
    assert found[0][0] == "At nine, save on Sundays."


async def test_a_table_is_quoted_where_there_is_nothing_else() -> None:
    found = await quotes("How many days?", "| refund | days |\n| cash | 14 |")
    assert found
    assert found[0][1] == 1


async def test_no_passage_means_no_answer() -> None:
    assert await answer("Why?", " \n ") == f"{NO_ANSWER}\n\n{NOTICE}"
    assert await answer("Why?") == ALONE, "asked without the documents"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet=st.sampled_from("ab cé|#-*1.?!。“”’\n\t[]"), max_size=200), min_size=1, max_size=4))
def test_every_quotation_is_exactly_in_its_passage(texts: list[str]) -> None:
    text = asyncio.run(answer("ab cé?", *texts))
    body = text.removesuffix(NOTICE).removesuffix("\n\n")
    assert body != text
    if body == NO_ANSWER:
        return
    while body:
        match = next(
            match
            for match in (re.match(rf"“(.+?)” \[({number})\](?:\n\n|$)", body, re.DOTALL) for number in range(1, 5))
            if match and match.group(1) in texts[int(match.group(2)) - 1]
        )
        body = body[match.end() :]


async def test_long_text_without_sentences_is_cut_not_dropped() -> None:
    found = await quotes("What about words?", "words and more words " * 2000)
    assert found
    assert all(len(text) <= 400 for text, _ in found)


async def test_only_a_bounded_number_of_sentences_is_embedded() -> None:
    embedder = WordEmbedder()
    text = " ".join(f"Sentence number {number} says something." for number in range(2000))
    reader = Reader(embedder, words_per_second=0)
    prompt = Prompt((), "What does it say?", [PromptPassage(1, "Long", text)])
    async with asyncio.timeout(10):
        assert [batch async for batch in reader.stream(prompt, Generation())]
    assert len(embedder.seen) <= 100


DOCUMENT = """# The Harbour

The harbour of Östersund was built in 1887 — “the finest of the north,” as Dr. Berg wrote. It has 3 piers, e.g. the
long one. Ships wait outside… sometimes for days! (Why? Nobody knows.)

## Prices

- A berth costs 25 € a night.
- Water is free; electricity is 0,40 € per kWh.

| pier | berths |
| --- | --- |
| long | 40 |

東京の港は大きい。とても古い。

1. Call the office. 2. Say when you come.
"""


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([12, 20, 40, 80]),
    st.sampled_from(["What does a berth cost?", "When was it built?", "東京の港は？"]),
)
def test_every_quotation_is_in_its_passage_of_a_document_and_wholly_supported(tokens: int, question: str) -> None:
    chunks = split(Parsed(DOCUMENT), WordEmbedder().token_spans, max_tokens=tokens, overlap_tokens=tokens // 4)
    for first in range(0, len(chunks), 4):
        texts = [chunk.text for chunk in chunks[first : first + 4]]
        assert all(text in DOCUMENT for text in texts)
        said = asyncio.run(answer(question, *texts))
        cited = citations.find(said, dict(enumerate(texts, 1)))
        found = [(text, int(number)) for text, number in QUOTE.findall(said)]
        assert len(found) == len(cited)
        assert all(text in texts[number - 1] for text, number in found)
        assert all(one.support == 1 for one in cited)
