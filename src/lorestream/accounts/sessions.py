"""Logins: each a family of refresh tokens, of which one can be exchanged and every other one tells of a theft.

Rotation with reuse detection as in RFC 9700, section 4.14.2, and OWASP ASVS 5, 10.4.5 and 10.4.8.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lorestream import db
from lorestream.accounts import sessions_store, store
from lorestream.accounts.audit import Audit
from lorestream.accounts.keyring import Keyring
from lorestream.accounts.models import Login, Principal
from lorestream.accounts.tokens import token_hash
from lorestream.errors import NotFound, Unauthenticated
from lorestream.settings import Settings

# Two tabs may bring the same refresh token; the later one is answered like the first for this long.
REFRESH_GRACE_SECONDS = 10
MAX_LOGINS_PER_USER = 50
# An open page exchanges one every ten minutes: five weeks of them. Older ones are refused like unknown ones.
MAX_USED_TOKENS = 5000
MAX_USER_AGENT = 200
MAX_IP = 64


@dataclass(frozen=True, slots=True)
class Issued:
    """The tokens of a login; the refresh token belongs into an HttpOnly cookie and nowhere else."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_seconds: int


class Sessions:
    """The logins of all users. ``clock`` gives the current time in UTC."""

    def __init__(
        self,
        database: db.Database,
        settings: Settings,
        keyring: Keyring,
        audit: Audit,
        clock: Callable[[], datetime] = db.now,
    ) -> None:
        """Remember what it works with."""
        self._db = database
        self._settings = settings
        self._keyring = keyring
        self._audit = audit
        self._clock = clock

    async def begin(
        self, user_id: str, password_hash: str, ip: str, user_agent: str, renewed_hash: str | None = None
    ) -> Issued:
        """A new login of a user whose password was checked against ``password_hash``.

        ``renewed_hash`` replaces that one, made with today's parameters. Raises Unauthenticated when the password was
        changed or the user disabled meanwhile.
        """
        now, refresh_token = self._clock(), (await self._keyring.tokens()).new_refresh()
        login = Login(
            session_id=secrets.token_hex(16),
            user_id=user_id,
            refresh_hash=token_hash(refresh_token),
            created_at=now,
            last_used_at=now,
            expires_at=self._expiry(now, now),
            user_agent=user_agent[:MAX_USER_AGENT],
            ip=ip[:MAX_IP],
        )
        async with self._db.write() as session:
            if not await store.replace_password(session, user_id, password_hash, renewed_hash or password_hash):
                raise Unauthenticated("Wrong email or password.")
            await store.add(session, login)
            await sessions_store.forget_old(session, user_id, now, MAX_LOGINS_PER_USER)
            await self._audit.note(session, "login", user_id=user_id, ip=ip, session_id=login.session_id)
        return await self._issue(login, refresh_token)

    async def refresh(self, refresh_token: str, ip: str = "") -> Issued:
        """Exchange a refresh token for new tokens; it is used up (but see REFRESH_GRACE_SECONDS).

        A token that was used up before ends its whole login: either whoever brings it has stolen it, or whoever used
        it had. Raises Unauthenticated for it, and for one that is unknown, expired or revoked.
        """
        given, tokens = token_hash(refresh_token), await self._keyring.tokens()
        successors = tokens.successors(refresh_token)
        found = await self._find(given)
        if found.used_at is None:
            if login := await self._exchange(found.login, given, token_hash(successors[0]), ip):
                return await self._issue(login, successors[0])
            found = await self._find(given)  # another tab was faster
        if present := self._present_after(found, successors):
            return await self._issue(found.login, present)
        # Its successor may be one under a key that another worker met first.
        newest, found = await self._keyring.newest_tokens(), await self._find(given)
        if present := self._present_after(found, newest.successors(refresh_token)):
            return await self._issue(found.login, present)
        await self._end_reused(found.login, ip)
        raise _ended()

    async def _find(self, given: bytes) -> sessions_store.Found:
        async with self._db.read() as session:
            found = await sessions_store.find(session, given, self._clock())
        if found is None:
            raise _ended()
        return found

    async def _exchange(self, login: Login, given: bytes, new: bytes, ip: str) -> Login | None:
        """Replace the login's token; None when that is not ``given`` any more."""
        now = self._clock()
        until = self._expiry(login.created_at, now)
        async with self._db.write() as session:
            exchanged = await sessions_store.exchange(session, login.session_id, given, new, now, until, ip[:MAX_IP])
            if exchanged is not None:
                await sessions_store.forget_used(session, login.session_id, MAX_USED_TOKENS)
        return exchanged

    def _present_after(self, found: sessions_store.Found, successors: list[str]) -> str | None:
        """The login's present token, if the one that was found was exchanged for it a moment ago."""
        if found.used_at is None or found.used_at < self._clock() - timedelta(seconds=REFRESH_GRACE_SECONDS):
            return None
        return next((one for one in successors if token_hash(one) == found.login.refresh_hash), None)

    async def _end_reused(self, login: Login, ip: str) -> None:
        async with self._db.write() as session:
            if await sessions_store.end(session, self._clock(), login.session_id):
                await self._audit.note(
                    session, "refresh_reused", user_id=login.user_id, ip=ip, session_id=login.session_id
                )

    async def living(self, user: Principal) -> Sequence[Login]:
        """The logins of a user that can be used, the one used last first."""
        async with self._db.read() as session:
            return await sessions_store.living(session, user.user_id, self._clock())

    async def revoke(self, user: Principal, session_id: str, ip: str = "") -> None:
        """End one of the user's logins. Raises NotFound, the same for a foreign and an unknown one."""
        async with self._db.write() as session:
            if not await sessions_store.end(session, self._clock(), session_id, user.user_id):
                raise NotFound("You have no such login.")
            await self._audit.note(session, "session_revoked", user_id=user.user_id, ip=ip, session_id=session_id)

    async def logout(self, access_token: str | None, refresh_token: str | None, ip: str = "") -> None:
        """End the logins that these tokens belong to; nothing happens for tokens that are worth nothing."""
        session_id, token = None, token_hash(refresh_token) if refresh_token else None
        if access_token:
            try:
                session_id = (await self._keyring.check_access(access_token)).session_id
            except Unauthenticated:
                session_id = None
        if session_id is None and token is None:
            return
        now = self._clock()
        async with self._db.write() as session:
            for ended_id, user_id in await sessions_store.named(session, now, session_id, token):
                await sessions_store.end(session, now, ended_id)
                await self._audit.note(session, "logout", user_id=user_id, ip=ip, session_id=ended_id)

    async def logout_everywhere(self, user: Principal, ip: str = "") -> None:
        """End every login of a user, this one too."""
        async with self._db.write() as session:
            ended = await sessions_store.end_all(session, self._clock(), user.user_id)
            await self._audit.note(session, "logout_everywhere", user_id=user.user_id, ip=ip, sessions=ended)

    def _expiry(self, begun: datetime, used: datetime) -> datetime:
        sliding = used + timedelta(seconds=self._settings.refresh_token_seconds)
        return min(sliding, begun + timedelta(seconds=self._settings.session_max_seconds))

    async def _issue(self, login: Login, refresh_token: str) -> Issued:
        return Issued(
            access_token=await self._keyring.issue_access(login.user_id, login.session_id),
            expires_in=self._settings.access_token_seconds,
            refresh_token=refresh_token,
            refresh_seconds=max(0, int((login.expires_at - self._clock()).total_seconds())),
        )


def _ended() -> Unauthenticated:
    return Unauthenticated("Please log in again: this login has ended.")
