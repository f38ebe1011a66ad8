"""How alembic runs the migrations: on the connection it is given, or into a text.

The transaction belongs to `kit.ledger.migrating`, which also keeps a second migrator out until
this one has committed.
"""

from alembic import context

from kit.ledger.schema import VERSION_TABLE, metadata

_attributes = context.config.attributes

if context.is_offline_mode():
    context.configure(
        dialect_name=_attributes["dialect"],
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        transactional_ddl=True,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    context.configure(
        connection=_attributes["connection"],
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        transactional_ddl=True,
    )
    context.run_migrations()
