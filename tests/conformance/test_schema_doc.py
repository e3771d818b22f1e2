"""The page about the schema shows all of it; that it is current is in tests/tools."""

from agentvine.domains.mapping import metadata
from tools import gen_schema_doc


def test_the_page_shows_every_table_column_and_index() -> None:
    page = gen_schema_doc.render()

    for table in metadata.tables.values():
        assert page.count(f"\n## {table.name}\n") == 1
        section = page.partition(f"\n## {table.name}\n")[2].partition("\n## ")[0]
        for column in table.columns:
            assert f"\n| `{column.name}` |" in section
        for index in table.indexes:
            assert f"index `{index.name}`" in section
