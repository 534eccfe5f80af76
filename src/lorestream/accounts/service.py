"""Accounts: who may register, whose password it is, and who is asking."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from lorestream import db
from lorestream.accounts import sessions_store, store
from lorestream.accounts.audit import Audit
from lorestream.accounts.emails import LOCAL_EMAIL, invalid_field, normalise_email, valid_email
from lorestream.accounts.invitations import Invitations
from lorestream.accounts.keyring import Keyring
from lorestream.accounts.models import Principal, User
from lorestream.accounts.password_rules import ADVISED_LENGTH, check_new_password, common_passwords
from lorestream.accounts.passwords import Passwords
from lorestream.accounts.sessions import Issued, Sessions
from lorestream.accounts.throttle import Throttle, digest
from lorestream.errors import Conflict, Forbidden, RateLimited, Unauthenticated
from lorestream.limits import RateLimiter
from lorestream.settings import Settings

REGISTER_RATE_OF_ADDRESS = "20/minute"
# How often a refused guess is noted, of each address and of each account.
NOTE_RATE = "1/minute"


@dataclass(frozen=True, slots=True)
class Options:
    """What whoever is not logged in may know before they try: how to register, and with what password."""

    registration: Literal["open", "invite", "closed"]
    first: bool
    password_min_length: int
    password_advised_length: int


class Accounts:
    """Users, their passwords and their ``sessions``. Built without I/O; ``open`` before the first use.

    ``clock`` gives the current time in UTC.
    """

    def __init__(
        self,
        database: db.Database,
        settings: Settings,
        limiter: RateLimiter,
        audit: Audit,
        invitations: Invitations,
        clock: Callable[[], datetime] = db.now,
    ) -> None:
        """Remember what it works with."""
        self._db = database
        self._settings = settings
        self._limiter = limiter
        self._audit = audit
        self._invitations = invitations
        self._clock = clock
        self.passwords = Passwords()
        self._keyring = Keyring(settings.data_dir, settings.access_token_seconds, lambda: clock().timestamp())
        self.throttle = Throttle(limiter.backoff, settings.data_dir)
        self.sessions = Sessions(database, settings, self._keyring, audit, clock)

    async def open(self) -> None:
        """Load the secret keys, or make the first one. Raises StartRefused when one of them is not safe."""
        await self._keyring.open()
        await self.throttle.open()
        await self.passwords.open()
        await asyncio.to_thread(common_passwords)

    async def close(self) -> None:
        """Stop the threads that hash passwords."""
        self.passwords.close()

    async def options(self) -> Options:
        """How to register here."""
        async with self._db.read() as session:
            first = not await store.has_users(session)
        least = self._settings.password_min_length
        return Options(self._settings.registration, first, least, max(least, ADVISED_LENGTH))

    async def register(self, email: str, password: str, ip: str, invitation: str | None = None) -> User:
        """Make an account; the first one is the administrator's.

        Raises Forbidden (registration is closed, or not without an invitation), Conflict (the email is taken, told
        only to those who may register, after the same costly hash), InvalidInput, RateLimited or Busy.
        """
        await self._limiter.check("register", REGISTER_RATE_OF_ADDRESS, ip)
        email = valid_email(email)
        check_new_password(password, email, self._settings.password_min_length)
        async with self._db.read() as session:  # before the costly hash; decided again below
            is_first = not await store.has_users(session)
            if not is_first and self._needs_invitation():
                await self._invitations.check(session, invitation or "", email)
        user = self._new_user(email, await self.passwords.hash(password))
        async with self._db.write() as session:
            user.is_admin = not await store.has_users(session)
            if not user.is_admin and self._needs_invitation():
                await self._invitations.redeem(session, invitation or "", email, user.user_id)
            if await store.user_by_email(session, email):
                raise Conflict("There is already an account with this email.")
            await store.add(session, user)
            await self._audit.note(session, "registered", user_id=user.user_id, ip=ip)
        return user

    async def login(self, email: str, password: str, ip: str, user_agent: str = "", device: str = "") -> Issued:
        """Check a password and begin a login. ``device`` is the cookie of ``throttle.device_cookie``, if there is one.

        Raises Unauthenticated, the same and after the same time for an unknown email, a disabled user and a wrong
        password; RateLimited or Busy.
        """
        user = await self._verified(email, password, ip, self.throttle.known_device(email, device))
        if user is None or user.password_hash is None:
            raise Unauthenticated("Wrong email or password.")
        outdated = self.passwords.is_outdated(user.password_hash)
        renewed = await self.passwords.hash(password) if outdated else None
        return await self.sessions.begin(user.user_id, user.password_hash, ip, user_agent, renewed)

    async def change_password(self, caller: Principal, current: str, new: str, ip: str) -> None:
        """Give the caller another password, and end every other login of theirs.

        Raises InvalidInput (the current one is wrong, the new one is refused), RateLimited or Busy.
        """
        check_new_password(new, caller.email, self._settings.password_min_length, "new_password")
        user = await self.confirm(caller, current, ip, "current_password")
        new_hash = await self.passwords.hash(new)
        async with self._db.write() as session:
            if not await store.replace_password(session, user.user_id, user.password_hash or "", new_hash):
                raise Conflict("The password was changed by somebody else at the same time; please log in again.")
            ended = await sessions_store.end_all(session, self._clock(), user.user_id, keep=caller.session_id)
            await self._audit.note(session, "password_changed", user_id=user.user_id, ip=ip, sessions_ended=ended)

    async def confirm(self, caller: Principal, password: str, ip: str, field: str = "password") -> User:
        """The caller's account, if this is its password, under the limits of logins.

        Raises InvalidInput, naming ``field``; RateLimited or Busy.
        """
        user = await self._verified(caller.email, password, ip, caller.session_id)
        if user is None or user.user_id != caller.user_id:
            raise invalid_field(field, "is not your password")
        return user

    async def authenticate(self, access_token: str) -> Principal:
        """Who is asking. Raises Unauthenticated, also when the user was disabled or the login revoked since."""
        claims = await self._keyring.check_access(access_token)
        async with self._db.read() as session:
            principal = await store.principal_of(session, claims.session_id, self._clock())
        if principal is None or principal.user_id != claims.user_id:
            raise Unauthenticated
        return principal

    async def user(self, user_id: str) -> User:
        """The account with this id. Raises Unauthenticated when it is gone."""
        async with self._db.read() as session:
            user = await store.user_by_id(session, user_id)
        if user is None:
            raise Unauthenticated
        return user

    async def local_user(self) -> Principal:
        """The owner of what the command line does without a server; made once, and can never log in."""
        async with self._db.write() as session:
            user = await store.user_by_email(session, LOCAL_EMAIL)
            if user is None:
                user = self._new_user(LOCAL_EMAIL, None)
                await store.add(session, user)
        return Principal(user.user_id, user.email, session_id="")

    async def _verified(self, email: str, password: str, ip: str, known: str) -> User | None:
        """The account whose password this is, unless it was guessed at too often; it takes as long when there is none.

        ``known`` is the device or the login of somebody who has proved before that the account is theirs.
        """
        try:
            async with self.throttle.guess(email, ip, known) as guess:
                user = await self._find(email)
                stored = user.password_hash if user and user.disabled_at is None else None
                guess.succeeded = await self.passwords.matches(stored, password)
        except RateLimited:
            await self._note_throttled(email, ip)
            raise
        if not guess.succeeded:
            await self._audit.record("login_failed", user_id=user.user_id if user else None, ip=ip)
            return None
        return user

    async def _find(self, email: str) -> User | None:
        async with self._db.read() as session:
            return await store.user_by_email(session, normalise_email(email))

    async def _note_throttled(self, email: str, ip: str) -> None:
        # Seldom enough that nobody fills the log by hammering.
        try:
            await self._limiter.check("throttled", NOTE_RATE, ip)
            await self._limiter.check("throttled", NOTE_RATE, digest(normalise_email(email)))
        except RateLimited:
            return
        user = await self._find(email)
        await self._audit.record("login_throttled", user_id=user.user_id if user else None, ip=ip)

    def _needs_invitation(self) -> bool:
        """Whether whoever is not the first must be invited. Raises Forbidden when not even that would help."""
        if self._settings.registration == "closed":
            raise Forbidden("Registration is closed on this server; ask whoever runs it for an account.")
        return self._settings.registration == "invite"

    def _new_user(self, email: str, password_hash: str | None) -> User:
        return User(
            user_id=secrets.token_hex(16),
            email=email,
            password_hash=password_hash,
            is_admin=False,
            created_at=self._clock(),
            disabled_at=None,
        )
