"""The SQL of the administration of users. Every function works inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, delete, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from lorestream.accounts.emails import LOCAL_EMAIL
from lorestream.accounts.models import ApiKey, AuditEvent, Invitation, Login, User


@dataclass(frozen=True, slots=True)
class Account:
    """An account as an administrator sees it."""

    user_id: str
    email: str
    created_at: datetime
    is_admin: bool
    disabled_at: datetime | None
    last_used_at: datetime | None
    limits: dict[str, int] | None


@dataclass(frozen=True, slots=True)
class Noted:
    """An event of the audit log, with the emails of the accounts it names as far as there still are such accounts."""

    event_id: str
    at: datetime
    kind: str
    user_id: str | None
    email: str | None
    actor_id: str | None
    actor_email: str | None
    ip: str
    details: dict[str, Any]


async def page_of(session: AsyncSession, search: str, limit: int, after: tuple[datetime, str] | None) -> list[Account]:
    """Up to ``limit`` accounts whose email holds ``search``, newest first, older than ``after``."""
    query = _accounts()
    if search:
        query = query.where(User.email.contains(search, autoescape=True))
    if after is not None:
        query = query.where(tuple_(User.created_at, User.user_id) < tuple_(*after))
    newest = (User.created_at.desc(), User.user_id.desc())
    return [_account(row) for row in await session.execute(query.order_by(*newest).limit(limit))]


async def find(session: AsyncSession, user_id: str) -> Account | None:
    """The account with this id."""
    row = (await session.execute(_accounts().where(User.user_id == user_id))).one_or_none()
    return None if row is None else _account(row)


async def find_email(session: AsyncSession, email: str) -> Account | None:
    """The account with this normalised email."""
    row = (await session.execute(_accounts().where(User.email == email))).one_or_none()
    return None if row is None else _account(row)


async def has_other_administrator(session: AsyncSession, user_id: str) -> bool:
    """Whether an administrator is left without this one. Locks them, so that no two can go at the same time."""
    others = select(User.user_id).where(
        User.is_admin, User.disabled_at.is_(None), User.password_hash.is_not(None), User.user_id != user_id
    )
    return (await session.scalars(others.with_for_update())).first() is not None


async def change(session: AsyncSession, user_id: str, **values: Any) -> None:
    """Set columns of a user."""
    await session.execute(update(User).where(User.user_id == user_id).values(**values))


async def remove_keys(session: AsyncSession, user_id: str) -> None:
    """Delete every API key of a user."""
    await session.execute(delete(ApiKey).where(ApiKey.user_id == user_id))


async def remove(session: AsyncSession, user_id: str) -> None:
    """Delete a user with all logins, keys and counts, and the invitations that they gave or took."""
    theirs = or_(Invitation.created_by == user_id, Invitation.used_by == user_id)
    await session.execute(delete(Invitation).where(theirs))
    await session.execute(delete(User).where(User.user_id == user_id))


async def all_ids(session: AsyncSession) -> set[str]:
    """Every user, the local owner too."""
    return set(await session.scalars(select(User.user_id)))


async def events_page(
    session: AsyncSession, kind: str | None, user_id: str | None, limit: int, after: tuple[datetime, str] | None
) -> list[Noted]:
    """Up to ``limit`` events of the audit log, newest first; ``user_id`` is whom they concern or who did them."""
    user, actor = aliased(User), aliased(User)
    columns: Sequence[Any] = (
        AuditEvent.event_id, AuditEvent.at, AuditEvent.kind,
        AuditEvent.user_id, user.email, AuditEvent.actor_id, actor.email.label("actor_email"),
        AuditEvent.ip, AuditEvent.details,
    )  # fmt: skip
    of_user, of_actor = user.user_id == AuditEvent.user_id, actor.user_id == AuditEvent.actor_id
    query = select(*columns).select_from(AuditEvent).outerjoin(user, of_user).outerjoin(actor, of_actor)
    if kind is not None:
        query = query.where(AuditEvent.kind == kind)
    if user_id is not None:
        query = query.where(or_(AuditEvent.user_id == user_id, AuditEvent.actor_id == user_id))
    if after is not None:
        query = query.where(tuple_(AuditEvent.at, AuditEvent.event_id) < tuple_(*after))
    newest = (AuditEvent.at.desc(), AuditEvent.event_id.desc())
    return [Noted(*row) for row in await session.execute(query.order_by(*newest).limit(limit))]


async def forget_events(session: AsyncSession, before: datetime) -> None:
    """Delete the events of the audit log that are older."""
    await session.execute(delete(AuditEvent).where(AuditEvent.at < before))


def _accounts() -> Select[Any]:
    login = select(func.max(Login.last_used_at)).where(Login.user_id == User.user_id).scalar_subquery()
    key = select(func.max(ApiKey.last_used_at)).where(ApiKey.user_id == User.user_id).scalar_subquery()
    people: ColumnElement[bool] = User.email != LOCAL_EMAIL
    columns: Sequence[Any] = (User.user_id, User.email, User.created_at, User.is_admin, User.disabled_at, User.limits)
    return select(*columns, login.label("login"), key.label("key")).where(people)


def _account(row: Row[Any]) -> Account:
    used = [at for at in (row.login, row.key) if at is not None]
    return Account(
        row.user_id, row.email, row.created_at, row.is_admin, row.disabled_at, max(used, default=None), row.limits
    )
