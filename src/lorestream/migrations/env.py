"""Alembic's environment: runs inside the connection that ``schema.upgrade`` opened.

All migrations are one transaction, which begins IMMEDIATE: of two processes that start together one waits for the
other, and a migration that fails leaves nothing behind. (SQLite's DDL is transactional; Alembic assumes that its
driver is not, but ``db`` has taken the transactions out of the driver's hands.)
"""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=None, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
