"""Triggers of a kind that more than one table may need, built for the registry."""

from agentvine.db.registry import REGISTRY, Registry, SchemaObject


def number_within_parent(
    table: str,
    *,
    column: str,
    parent: str,
    reference: str,
    counter: str,
    registry: Registry = REGISTRY,
) -> None:
    """Number a row that is inserted without a number, from a counter in its parent's row.

    The application takes the number itself and is not touched by this; it is for raw SQL.

    Args:
        table: Whose rows are numbered.
        column: Holds the number; NULL asks for one.
        parent: The table with the counter.
        reference: The column that refers to the parent's id.
        counter: The parent's column with the next number.
        registry: Where the trigger is registered.
    """
    function = f"agentvine_number_{table}"
    count_on = f"UPDATE {parent} SET {counter} = {counter} + 1 WHERE id = NEW.{reference}"
    take_number = (
        f"UPDATE {table} SET {column} = "
        f"(SELECT {counter} - 1 FROM {parent} WHERE id = NEW.{reference})"
    )
    registry.register(
        SchemaObject(
            "function",
            function,
            {
                "postgresql": f"() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {count_on} "
                f"RETURNING {counter} - 1 INTO NEW.{column}; RETURN NEW; END $$"
            },
        )
    )
    registry.trigger(
        f"trg_{table}_{column}",
        table,
        needs={column, reference},
        postgresql=f"BEFORE INSERT ON {table} FOR EACH ROW WHEN (NEW.{column} IS NULL) "
        f"EXECUTE FUNCTION {function}()",
        sqlite=f"AFTER INSERT ON {table} FOR EACH ROW WHEN NEW.{column} IS NULL BEGIN "
        f"{count_on}; {take_number} WHERE rowid = NEW.rowid; END",
    )
