"""The limits of one user: what the settings give everybody, what an administrator set for one, and what is used.

What a user holds at the moment (answers, streams) is counted by ``admission.Seats``; here is what they use up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time, timedelta
from typing import Literal, NamedTuple, get_args

from lorestream import db
from lorestream.accounts import quotas_store as store
from lorestream.accounts.models import Principal
from lorestream.errors import QuotaExceeded, RateLimited
from lorestream.limits import RateLimiter
from lorestream.settings import Settings

Name = Literal[
    "requests_per_minute", "running_answers", "tokens_per_day", "uploads_per_hour", "stored_bytes", "documents",
    "open_streams",
]  # fmt: skip
NAMES: tuple[Name, ...] = get_args(Name)
Limits = Mapping[Name, int]


class Stored(NamedTuple):
    """How many documents a user has, and the bytes of their originals."""

    documents: int
    bytes: int


class Used(NamedTuple):
    """How much of a limit is used, and when the oldest of it no longer counts (None where time changes nothing)."""

    used: int
    resets_at: datetime | None = None


class Quotas:
    """Counts and checks. A limit of 0 is none. ``clock`` gives the current time in UTC."""

    def __init__(
        self,
        database: db.Database,
        settings: Settings,
        limiter: RateLimiter,
        clock: Callable[[], datetime] = db.now,
    ) -> None:
        """No I/O."""
        self._db = database
        self._limiter = limiter
        self._clock = clock
        self._defaults: dict[Name, int] = {
            "requests_per_minute": int(settings.user_rate.partition("/")[0]),
            "running_answers": settings.max_runs_per_user,
            "tokens_per_day": settings.tokens_per_day,
            "uploads_per_hour": settings.uploads_per_hour,
            "stored_bytes": settings.max_stored_bytes_per_user,
            "documents": settings.max_documents_per_user,
            "open_streams": settings.max_streams_per_user,
        }
        # What is on its way into the storage: a second upload finds no room that the first one will take.
        self._arriving: defaultdict[str, Stored] = defaultdict(lambda: Stored(0, 0))

    def of(self, own: Mapping[str, int]) -> Limits:
        """The limits of a user for whom an administrator set ``own``."""
        return {name: own.get(name, default) for name, default in self._defaults.items()}

    async def request(self, user: Principal, headers: MutableMapping[str, str]) -> None:
        """Count a request, and say in its answer's ``headers`` what remains. Raises RateLimited.

        The headers are those of draft-ietf-httpapi-ratelimit-headers-10.
        """
        limit = self.of(user.limits)["requests_per_minute"]
        if not limit:
            return
        try:
            await self._limiter.check("requests", f"{limit}/minute", user.user_id)
        finally:
            used, seconds = await self._limiter.usage("requests", f"{limit}/minute", user.user_id)
            headers["RateLimit-Policy"] = f'"requests_per_minute";q={limit};w=60'
            headers["RateLimit"] = f'"requests_per_minute";r={max(0, limit - used)};t={round(seconds)}'

    async def answer(self, user_id: str) -> int:
        """How many answers a user may have running, who may begin one today; 0 for any number. Raises RateLimited."""
        now = self._clock()
        async with self._db.read() as session:
            spent = await store.spent(session, user_id, now.date())
        if spent is None:
            return 0
        limits = self.of(spent.limits)
        if 0 < (limit := limits["tokens_per_day"]) <= spent.tokens:
            wait = _tomorrow(now) - now
            raise RateLimited(
                f"You have used the {limit} tokens that you have a day; there are new ones at midnight (UTC).",
                retry_after=max(1, round(wait.total_seconds())),
            )
        return limits["running_answers"]

    @asynccontextmanager
    async def upload(
        self, user: Principal, declared_bytes: int, stored: Callable[[], Awaitable[Stored]]
    ) -> AsyncIterator[None]:
        """Count an upload, and keep room for it inside the block, in which it is read and stored.

        ``declared_bytes`` are those of its body, 0 where that is not known; ``stored`` tells what the user has. Raises
        RateLimited and, before anything is read, QuotaExceeded. What fails in the block was no upload.
        """
        limits = self.of(user.limits)
        rate = f"{limits['uploads_per_hour']}/hour" if limits["uploads_per_hour"] else None
        if rate:
            await self._limiter.check("uploads", rate, user.user_id)
        try:
            async with self._room(user.user_id, limits, Stored(1, declared_bytes), await stored()):
                yield
        except BaseException:
            if rate:
                await self._limiter.forgive("uploads", rate, user.user_id)
            raise

    async def admit(self, session: db.Session, owner_id: str, stored: Stored, added_bytes: int) -> None:
        """Check that one more document fits to what is ``stored``, in the transaction that stores it.

        Raises QuotaExceeded.
        """
        spent = await store.spent(session, owner_id, self._clock().date())
        if spent is not None:
            _check_room(self.of(spent.limits), Stored(stored.documents + 1, stored.bytes + added_bytes))

    async def used(self, user: Principal) -> dict[Name, Used]:
        """What a user has used up of the limits that time gives back."""
        now, limits = self._clock(), self.of(user.limits)
        async with self._db.read() as session:
            spent = await store.spent(session, user.user_id, now.date())
        found: dict[Name, Used] = {"tokens_per_day": Used(spent.tokens if spent else 0, _tomorrow(now))}
        windows: tuple[tuple[Name, str, str], ...] = (
            ("requests_per_minute", "requests", "minute"),
            ("uploads_per_hour", "uploads", "hour"),
        )
        for name, window, period in windows:
            found[name] = Used(0)
            if limits[name]:
                used, seconds = await self._limiter.usage(window, f"{limits[name]}/{period}", user.user_id)
                found[name] = Used(used, now + timedelta(seconds=seconds) if used else None)
        return found

    @asynccontextmanager
    async def _room(self, user_id: str, limits: Limits, wanted: Stored, stored: Stored) -> AsyncIterator[None]:
        arriving = _sum(self._arriving.get(user_id, Stored(0, 0)), wanted)
        _check_room(limits, _sum(stored, arriving))
        self._arriving[user_id] = arriving
        try:
            yield
        finally:
            left = self._arriving.pop(user_id)
            if left.documents > 1:
                self._arriving[user_id] = Stored(left.documents - 1, left.bytes - wanted.bytes)


def _sum(one: Stored, other: Stored) -> Stored:
    return Stored(one.documents + other.documents, one.bytes + other.bytes)


def _check_room(limits: Limits, total: Stored) -> None:
    if 0 < limits["documents"] < total.documents:
        raise QuotaExceeded(f"You may keep {limits['documents']} documents here. Please delete one first.")
    if 0 < limits["stored_bytes"] < total.bytes:
        raise QuotaExceeded(
            f"This file would not fit into the {limits['stored_bytes']} bytes that you may keep here. "
            "Please delete documents first."
        )


def _tomorrow(now: datetime) -> datetime:
    return datetime.combine(now.date() + timedelta(days=1), time(), UTC)
