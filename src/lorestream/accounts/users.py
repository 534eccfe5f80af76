"""The administration of users: by an administrator over HTTP, or by whoever has the data directory."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from lorestream import db
from lorestream.accounts import sessions_store, store
from lorestream.accounts import users_store as users
from lorestream.accounts.audit import Audit, Kind
from lorestream.accounts.emails import normalise_email, valid_email
from lorestream.accounts.models import User
from lorestream.accounts.password_rules import check_new_password
from lorestream.accounts.passwords import Passwords
from lorestream.accounts.users_store import Account, Noted
from lorestream.errors import Conflict, InvalidInput, NotFound, StartRefused

# 16 characters of base64url: 96 bits.
MADE_UP_BYTES = 12


class Actor(NamedTuple):
    """Who changes an account: an administrator and their address, or the command line."""

    user_id: str | None = None
    ip: str = ""


COMMAND_LINE = Actor()


class Users:
    """Everybody's accounts, for those who look after them. ``clock`` gives the current time in UTC."""

    def __init__(
        self,
        database: db.Database,
        passwords: Passwords,
        audit: Audit,
        password_min_length: int,
        clock: Callable[[], datetime] = db.now,
    ) -> None:
        """No I/O."""
        self._db = database
        self._passwords = passwords
        self._audit = audit
        self._least = password_min_length
        self._clock = clock

    async def page(self, search: str, limit: int, after: tuple[datetime, str] | None) -> list[Account]:
        """Up to ``limit`` accounts whose email holds ``search``, newest first, older than ``after``."""
        async with self._db.read() as session:
            return await users.page_of(session, normalise_email(search), limit, after)

    async def get(self, user_id: str) -> Account:
        """One account. Raises NotFound."""
        async with self._db.read() as session:
            return await _found(session, user_id)

    async def by_email(self, email: str) -> Account:
        """The account with this email. Raises NotFound."""
        async with self._db.read() as session:
            account = await users.find_email(session, normalise_email(email))
        if account is None:
            raise NotFound(f"There is no user with the email {email}.")
        return account

    async def meant(self, email: str | None) -> Account:
        """Whose things a command is about: the account with this email, or the only one.

        Raises NotFound, StartRefused where there is none, InvalidInput where there are several.
        """
        if email is not None:
            return await self.by_email(email)
        accounts = await self.page("", 2, None)
        if not accounts:
            raise StartRefused(
                "There is no account in this data directory yet. Register on the page, or make one: "
                "lorestream users add EMAIL"
            )
        if len(accounts) > 1:
            raise InvalidInput("There are several accounts here: say whose documents are meant with --user EMAIL.")
        return accounts[0]

    async def add(
        self, email: str, password: str | None, *, is_admin: bool, actor: Actor
    ) -> tuple[Account, str | None]:
        """Make an account, and the password that was made up where none is given, known only now.

        The first one is an administrator's in any case.

        Raises InvalidInput, Conflict (the email is taken) or Busy.
        """
        email = valid_email(email)
        made_up = None if password is not None else _made_up()
        chosen = await self._hashed(email, password or made_up or "")
        user = User(
            user_id=secrets.token_hex(16), email=email, password_hash=chosen, is_admin=False,
            created_at=self._clock(), disabled_at=None,
        )  # fmt: skip
        async with self._db.write() as session:
            if await store.user_by_email(session, email):
                raise Conflict("There is already an account with this email.")
            user.is_admin = is_admin or not await store.has_users(session)
            await store.add(session, user)
            await self._note(session, "user_added", user.user_id, actor, is_admin=user.is_admin)
            return await _found(session, user.user_id), made_up

    async def change(self, user_id: str, values: Mapping[str, Any], actor: Actor) -> Account:
        """Set ``disabled``, ``is_admin`` or ``limits`` (in the place of all that were set before), or several.

        Disabling ends the user's logins; the keys of one who is enabled again work again. Raises NotFound, and
        Conflict for the last administrator.
        """
        async with self._db.write() as session:
            before = await _found(session, user_id)
            was_disabled = before.disabled_at is not None
            disabled, is_admin = values.get("disabled", was_disabled), values.get("is_admin", before.is_admin)
            if disabled or not is_admin:
                await _keep_an_administrator(session, before)
            if disabled != was_disabled:
                await users.change(session, user_id, disabled_at=self._clock() if disabled else None)
                await self._note(session, "user_disabled" if disabled else "user_enabled", user_id, actor)
            if disabled:
                await sessions_store.end_all(session, self._clock(), user_id)
            if is_admin != before.is_admin:
                await users.change(session, user_id, is_admin=is_admin)
                await self._note(session, "admin_granted" if is_admin else "admin_revoked", user_id, actor)
            limits = values.get("limits", before.limits) or None
            if limits != before.limits:
                await users.change(session, user_id, limits=limits)
                await self._note(session, "limits_changed", user_id, actor, limits=limits or {})
            return await _found(session, user_id)

    async def reset_password(self, user_id: str, actor: Actor, password: str | None = None) -> str | None:
        """Give an account another password, and end its logins and keys, which somebody else may hold.

        The password that was made up where none is given, known only now. Raises NotFound, InvalidInput or Busy.
        """
        account = await self.get(user_id)
        made_up = None if password is not None else _made_up()
        chosen = await self._hashed(account.email, password or made_up or "")
        async with self._db.write() as session:
            await _found(session, user_id)
            await users.change(session, user_id, password_hash=chosen)
            await sessions_store.end_all(session, self._clock(), user_id)
            await users.remove_keys(session, user_id)
            await self._note(session, "password_reset", user_id, actor)
        return made_up

    async def remove(self, user_id: str, actor: Actor) -> None:
        """Delete an account with its logins and keys; what it owns is then nobody's (see ``ops.personal_data``).

        Raises NotFound, and Conflict for the last administrator.
        """
        async with self._db.write() as session:
            account = await _found(session, user_id)
            await _keep_an_administrator(session, account)
            await users.remove(session, user_id)
            await self._note(session, "account_deleted", user_id, actor)

    async def ids(self) -> set[str]:
        """Every user, also the local owner of the command line."""
        async with self._db.read() as session:
            return await users.all_ids(session)

    async def forget_events(self, before: datetime) -> None:
        """Delete the events of the audit log that are older."""
        async with self._db.write() as session:
            await users.forget_events(session, before)

    async def events(
        self, kind: Kind | None, user_id: str | None, limit: int, after: tuple[datetime, str] | None
    ) -> list[Noted]:
        """Up to ``limit`` events of the audit log, newest first, older than ``after``; those of a user where named."""
        async with self._db.read() as session:
            return await users.events_page(session, kind, user_id, limit, after)

    async def _hashed(self, email: str, password: str) -> str:
        check_new_password(password, email, self._least)
        return await self._passwords.hash(password)

    async def _note(self, session: db.Session, kind: Kind, user_id: str, actor: Actor, **details: Any) -> None:
        if actor.user_id is None:
            details["by"] = "command line"
        by = actor.user_id if actor.user_id != user_id else None
        await self._audit.note(session, kind, user_id=user_id, actor_id=by, ip=actor.ip, **details)


def _made_up() -> str:
    return secrets.token_urlsafe(MADE_UP_BYTES)


async def _found(session: db.Session, user_id: str) -> Account:
    account = await users.find(session, user_id)
    if account is None:
        raise NotFound("There is no such user.")
    return account


async def _keep_an_administrator(session: db.Session, account: Account) -> None:
    is_active = account.is_admin and account.disabled_at is None
    if is_active and not await users.has_other_administrator(session, account.user_id):
        raise Conflict("This is the last administrator of this server; make somebody else one first.")
