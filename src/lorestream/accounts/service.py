"""Accounts: registering, logging in and out, and who is asking."""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from lorestream import db
from lorestream.accounts import store
from lorestream.accounts.emails import LOCAL_EMAIL, invalid_field, normalise_email, valid_email
from lorestream.accounts.models import Login, Principal, User
from lorestream.accounts.passwords import MAX_PASSWORD_BYTES, Passwords, as_bytes
from lorestream.accounts.tokens import Tokens, load_or_create_key, refresh_hash
from lorestream.errors import Conflict, Forbidden, Unauthenticated
from lorestream.limits import RateLimiter
from lorestream.settings import Settings

KEY_FILE = "secret.key"
REGISTER_RATE_OF_ADDRESS = "20/minute"
# Failed logins only: an office behind one address may come to work at nine. Counted before the password is checked,
# so that guesses at the same time count, too. The account's is per client address: no stranger locks the owner out.
LOGIN_RATE_OF_ADDRESS = "30/minute"
LOGIN_RATE_OF_ACCOUNT = "10/minute"
# Two tabs may bring the same refresh token; the later one is answered like the first for this long.
REFRESH_GRACE_SECONDS = 10
MAX_LOGINS_PER_USER = 50
MAX_USER_AGENT = 200


@dataclass(frozen=True, slots=True)
class Issued:
    """The tokens of a login; the refresh token belongs into an HttpOnly cookie and nowhere else."""

    access_token: str
    expires_in: int
    refresh_token: str
    refresh_seconds: int


class Accounts:
    """Users and their logins. Built without I/O; ``open`` before the first use.

    ``clock`` gives the current time in UTC.
    """

    def __init__(
        self,
        database: db.Database,
        settings: Settings,
        limiter: RateLimiter,
        clock: Callable[[], datetime] = db.now,
    ) -> None:
        """Remember what it works with."""
        self._db = database
        self._settings = settings
        self._limiter = limiter
        self._clock = clock
        self._passwords = Passwords()
        self._tokens: Tokens | None = None

    async def open(self) -> None:
        """Load the secret key, or make it on the first start. Raises StartRefused when it is not safe."""
        key = await asyncio.to_thread(load_or_create_key, self._settings.data_dir / KEY_FILE)
        self._tokens = Tokens(key, self._settings.access_token_seconds, lambda: self._clock().timestamp())
        await self._passwords.open()

    async def close(self) -> None:
        """Stop the threads that hash passwords."""
        self._passwords.close()

    async def register(self, email: str, password: str, ip: str) -> User:
        """Make an account; the first one is the administrator's.

        Raises Forbidden (registration is closed and somebody is registered), Conflict (the email is taken),
        InvalidInput, RateLimited or Busy.
        """
        await self._limiter.check("register", REGISTER_RATE_OF_ADDRESS, ip)
        email = valid_email(email)
        self._check_password(password)
        async with self._db.read() as session:  # before the costly hash; decided again below
            self._admit(await store.admission(session, email))
        password_hash = await self._passwords.hash(password)
        async with self._db.write() as session:
            found = await store.admission(session, email)
            self._admit(found)
            user = self._new_user(email, password_hash, is_admin=not found.has_users)
            await store.add(session, user)
        return user

    async def login(self, email: str, password: str, ip: str, user_agent: str = "") -> Issued:
        """Check a password and begin a login.

        Raises Unauthenticated, the same and after the same time for an unknown email and a wrong password;
        RateLimited or Busy.
        """
        email = normalise_email(email)
        account = f"{ip} {email}"
        await self._limiter.check("login", LOGIN_RATE_OF_ADDRESS, ip)
        await self._limiter.check("login", LOGIN_RATE_OF_ACCOUNT, account)
        async with self._db.read() as session:
            user = await store.user_by_email(session, email)
        stored = user.password_hash if user and user.disabled_at is None else None
        if not await self._passwords.matches(stored, password) or user is None or stored is None:
            raise Unauthenticated("Wrong email or password.")
        await self._limiter.forgive("login", LOGIN_RATE_OF_ADDRESS, ip)
        await self._limiter.forgive("login", LOGIN_RATE_OF_ACCOUNT, account)
        renewed = await self._passwords.hash(password) if self._passwords.is_outdated(stored) else None
        return await self._begin(user.user_id, user_agent, renewed)

    async def refresh(self, refresh_token: str) -> Issued:
        """Exchange a refresh token for new tokens; it is used up (but see REFRESH_GRACE_SECONDS).

        Raises Unauthenticated when it is unknown, used up, expired or revoked.
        """
        successor = self._opened.successor(refresh_token)
        now = self._clock()
        async with self._db.write() as session:
            login = await store.rotate(
                session,
                refresh_hash(refresh_token),
                refresh_hash(successor),
                now,
                now + timedelta(seconds=self._settings.refresh_token_seconds),
                now - timedelta(seconds=REFRESH_GRACE_SECONDS),
            )
        if login is None:
            raise Unauthenticated("Please log in again: this login has ended.")
        return self._issue(login, successor)

    async def logout(self, access_token: str | None, refresh_token: str | None) -> None:
        """End the logins that these tokens belong to; nothing happens for tokens that are worth nothing."""
        session_id = None
        if access_token:
            try:
                session_id = self._opened.check_access(access_token).session_id
            except Unauthenticated:
                session_id = None
        async with self._db.write() as session:
            hashed = refresh_hash(refresh_token) if refresh_token else None
            await store.revoke(session, self._clock(), session_id, hashed)

    async def authenticate(self, access_token: str) -> Principal:
        """Who is asking. Raises Unauthenticated, also when the user was disabled or the login revoked since."""
        claims = self._opened.check_access(access_token)
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
                user = self._new_user(LOCAL_EMAIL, None, is_admin=False)
                await store.add(session, user)
        return Principal(user.user_id, user.email, session_id="")

    @property
    def _opened(self) -> Tokens:
        if self._tokens is None:
            raise RuntimeError("Accounts.open() was not awaited")
        return self._tokens

    def _admit(self, found: store.Admission) -> None:
        if self._settings.registration == "closed" and found.has_users:
            raise Forbidden("Registration is closed on this server; ask whoever runs it for an account.")
        if found.is_taken:
            raise Conflict("There is already an account with this email.")

    def _check_password(self, password: str) -> None:
        least = self._settings.password_min_length
        if len(unicodedata.normalize("NFC", password)) < least:
            raise invalid_field("password", f"needs at least {least} characters")
        if len(as_bytes(password)) > MAX_PASSWORD_BYTES:
            raise invalid_field("password", f"may have at most {MAX_PASSWORD_BYTES} bytes")

    def _new_user(self, email: str, password_hash: str | None, *, is_admin: bool) -> User:
        return User(
            user_id=secrets.token_hex(16),
            email=email,
            password_hash=password_hash,
            is_admin=is_admin,
            created_at=self._clock(),
            disabled_at=None,
        )

    async def _begin(self, user_id: str, user_agent: str, renewed_hash: str | None) -> Issued:
        now = self._clock()
        refresh_token = self._opened.new_refresh()
        login = Login(
            session_id=secrets.token_hex(16),
            user_id=user_id,
            refresh_hash=refresh_hash(refresh_token),
            created_at=now,
            last_used_at=now,
            expires_at=now + timedelta(seconds=self._settings.refresh_token_seconds),
            user_agent=user_agent[:MAX_USER_AGENT],
        )
        async with self._db.write() as session:
            if renewed_hash is not None:
                await store.set_password_hash(session, user_id, renewed_hash)
            await store.add(session, login)
            await store.forget_old_logins(session, user_id, now, MAX_LOGINS_PER_USER)
        return self._issue(login, refresh_token)

    def _issue(self, login: Login, refresh_token: str) -> Issued:
        return Issued(
            access_token=self._opened.issue_access(login.user_id, login.session_id),
            expires_in=self._settings.access_token_seconds,
            refresh_token=refresh_token,
            refresh_seconds=self._settings.refresh_token_seconds,
        )
