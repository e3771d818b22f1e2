"""Whether a database is whole."""

from sqlalchemy import text

from agentvine.db.session import Database


async def check_integrity(database: Database) -> None:
    """Ask the database itself whether its tables and indexes are whole."""
    async with database.transaction() as tx:
        if database.dialect.name == "sqlite":
            connection = await tx.connection()
            found = (await connection.exec_driver_sql("PRAGMA integrity_check")).scalars().all()
            assert found == ["ok"]
            return
        await tx.execute(text("CREATE EXTENSION IF NOT EXISTS amcheck"))
        # Raises where an index and its table disagree.
        check = """SELECT count(bt_index_check(c.oid, true)) FROM pg_index AS i
            JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_am AS a ON a.oid = c.relam
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE a.amname = 'btree' AND n.nspname = current_schema() AND c.relkind = 'i'"""
        assert ((await tx.execute(text(check))).scalar() or 0) > 50
