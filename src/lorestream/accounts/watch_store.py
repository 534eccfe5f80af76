"""The SQL of the watch over credentials."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from lorestream.accounts import keys_store, store
from lorestream.accounts.models import ApiKey, Credential, Login, User


async def alive(session: AsyncSession, credentials: Collection[Credential], at: datetime) -> set[tuple[str, str]]:
    """Those that still let somebody in, in one statement."""

    def ids(kind: str) -> list[str]:
        return [one.id for one in credentials if one.kind == kind]

    enabled = User.disabled_at.is_(None)
    logins = select(literal("login"), Login.session_id).join(User, User.user_id == Login.user_id)
    keys = select(literal("key"), ApiKey.key_id).join(User, User.user_id == ApiKey.user_id)
    users = select(literal("user"), User.user_id).where(User.user_id.in_(ids("user")), enabled)
    found = union_all(
        logins.where(Login.session_id.in_(ids("login")), store.live(at), enabled),
        keys.where(ApiKey.key_id.in_(ids("key")), keys_store.live(at), enabled),
        users,
    )
    return {(kind, identifier) for kind, identifier in await session.execute(found)}
