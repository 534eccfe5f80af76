"""The client of a Lorestream server: ask, follow, stop, search, documents; ``Client``, and ``AsyncClient`` for asyncio.

    with Client("http://127.0.0.1:8000", token="lsk_…") as client, client.ask("Who signed?") as answer:
        for event in answer:
            if isinstance(event, Token):
                print(event.text, end="")

An answer survives lost connections: it goes on from the last event read, is never asked twice, and no token of it is
lost or repeated. A question always goes into a conversation, one of its own where none is named: only there is it
asked at most once, is its model chosen, and found again on the page.

The requests, the course of an answer and the reading of its bytes are without I/O (``calls``, ``course``, ``frames``);
the two clients do nothing but send and read.
"""

from lorestream.client.async_client import AsyncAnswer, AsyncClient
from lorestream.client.connection import Times
from lorestream.client.failures import ClientFailed, NotUnderstood, TookTooLong, Unreachable
from lorestream.client.login import Login
from lorestream.client.models import Collection, Document, Passage, Result
from lorestream.client.sync_client import Answer, Client
from lorestream.errors import LorestreamError, Refused, RunFailed
from lorestream.streaming.events import Citation, Done, Error, Event, Reasoning, Source, Sources, Status, Token

__all__ = [
    "Answer",
    "AsyncAnswer",
    "AsyncClient",
    "Citation",
    "Client",
    "ClientFailed",
    "Collection",
    "Document",
    "Done",
    "Error",
    "Event",
    "Login",
    "LorestreamError",
    "NotUnderstood",
    "Passage",
    "Reasoning",
    "Refused",
    "Result",
    "RunFailed",
    "Source",
    "Sources",
    "Status",
    "Times",
    "Token",
    "TookTooLong",
    "Unreachable",
]
