"""Full text on both databases: FTS5 on SQLite, a tsvector with a GIN index on PostgreSQL.

A table whose rows shall be found by their words gets a derived table beside it
(``<table>_words``), which triggers keep: raw SQL, and rows that go with their parents, are seen as
well. It holds the row's id, its *scope* (ids of what it belongs to, so that the words of one
owner's rows are found without those of all others), its *head* (a title), and its *body*. The scope
only narrows: who may see a row is asked of the table itself.

On SQLite the derived table holds its own text. An index over another table's text would go by
that table's hidden row numbers, which VACUUM changes. A row is found there by its id, a word like
others.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

from sqlalchemy import (
    ColumnElement,
    Subquery,
    column,
    func,
    literal,
    literal_column,
    or_,
    select,
    table,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR
from sqlalchemy.types import Float, Text

from agentvine.db.registry import REGISTRY, Registry, SchemaObject
from agentvine.db.types import Uuid
from agentvine.kit.words import Phrase, WordQuery

MAX_RANKED = 1000
"""Of more rows than this the newest are ranked: to rank is to read each one's words."""

MAX_RANKED_BY_ANY = 500
"""The same where any of the words will do: there are up to thirty, and each row has some."""

_MANY_FOR_SQLITE, _MANY_FOR_POSTGRES = 52, 5
"""From so many owners on, the rows themselves are asked whose they are.

Each owner is one more list of the index to be merged. Measured with 10,000 rows and 21 owners:
SQLite does that in a third of the time that it takes by the rows, PostgreSQL in five times as much.
"""

_LANGUAGE: ColumnElement[str] = literal_column("'english'")
_HEAD_WEIGHT, _BODY_WEIGHT = 4.0, 1.0
_MARKS = "!\"#$%&''()*+,-./:;<=>?@[\\]^_`{|}~"


@dataclass(frozen=True, slots=True)
class WordIndex:
    """A table whose rows are found by their words."""

    table: str
    scopes: tuple[str, ...]
    """Columns with ids of what a row belongs to."""
    head: tuple[str, ...]
    """Columns whose words count most."""
    body: str
    """The column with the rest: a text or a JSON document."""
    is_json: bool = False

    @property
    def name(self) -> str:
        """The derived table."""
        return f"{self.table}_words"


Scope = Mapping[str, Sequence[uuid.UUID | None]]
"""What rows must belong to one of, by column; None: to nothing."""


class FullText(Protocol):
    """What the code may ask of a database."""

    def ranked(self, index: WordIndex, query: WordQuery, scope: Scope) -> Subquery:
        """Ids (``ident``) of rows in which the words occur, and a ``rank``: more is better."""
        ...


class SqliteFullText:
    """FTS5."""

    def ranked(self, index: WordIndex, query: WordQuery, scope: Scope) -> Subquery:
        """By BM25."""
        itself: ColumnElement[Any] = literal_column(index.name)
        words = table(index.name, column("ident", Uuid()), column("rowid"))
        rank = -func.bm25(itself, 0.0, 0.0, _HEAD_WEIGHT, _BODY_WEIGHT, type_=Float())
        by_words, by_rows = _parted(scope, _MANY_FOR_SQLITE)
        found = itself.op("MATCH")(_match(query, by_words))
        narrowed = _belongs(index, words.c.ident, by_rows)
        statement = select(words.c.ident, rank.label("rank")).where(found, *narrowed)
        return statement.order_by(words.c.rowid.desc()).limit(_most_ranked(query)).subquery()


class PostgresFullText:
    """tsvector, tsquery and GIN."""

    def ranked(self, index: WordIndex, query: WordQuery, scope: Scope) -> Subquery:
        """By ``ts_rank``, which counts words of the head most."""
        words = table(index.name, column("ident", Uuid()), column("words", TSVECTOR()))
        wanted = _tsquery(query)
        found = wanted
        by_words, by_rows = _parted(scope, _MANY_FOR_POSTGRES)
        for name, values in by_words.items():
            tokens = _tokens(name, values, " | ")
            token = func.to_tsquery(literal_column("'simple'"), tokens, type_=TSQUERY())
            found = found.op("&&", return_type=TSQUERY())(token)
        newest = (
            select(words.c.ident, words.c.words)
            .where(words.c.words.op("@@")(found), *_belongs(index, words.c.ident, by_rows))
            .order_by(words.c.ident.desc())
            .limit(_most_ranked(query))
            .subquery()
        )
        rank = func.ts_rank(newest.c.words, wanted, literal_column("1"), type_=Float())
        return select(newest.c.ident, rank.label("rank")).subquery()


def keep_words(index: WordIndex, registry: Registry = REGISTRY) -> None:
    """Keep the words of a table's rows, by a derived table and triggers."""
    columns = {"id", *_kept(index)}
    lite, postgres = _SqliteIndex(index), _PostgresIndex(index)
    registry.derived_table(
        index.name,
        needs={index.table: columns},
        sqlite=(lite.definition, lite.fill),
        postgresql=(postgres.definition, postgres.fill),
    )
    # What is written is found by a look at the index: without this it waits in a list for a
    # vacuum, and each search reads the list.
    gin = "USING gin (words) WITH (fastupdate = off)"
    registry.index(f"idx_{index.name}", index.name, postgresql=gin, needs={"words"})
    registry.register(SchemaObject("function", postgres.function, {"postgresql": postgres.keep}))
    row = f"ON {index.table} FOR EACH ROW"
    call = f"{row} EXECUTE FUNCTION {postgres.function}()"
    changing = ", ".join(_kept(index))
    for verb, event, statements in (
        ("insert", "INSERT", lite.add),
        ("update", f"UPDATE OF {changing}", f"{lite.remove}; {lite.add}"),
        ("delete", "DELETE", lite.remove),
    ):
        registry.trigger(
            f"trg_{index.name}_{verb}",
            index.table,
            needs=columns,
            sqlite=f"AFTER {event} {row} BEGIN {statements}; END",
            # Columns named here could not be dropped there; the function looks at them itself.
            postgresql=f"AFTER {verb.upper()} {call}",
        )


def _parted(scope: Scope, many: int) -> tuple[Scope, Scope]:
    """What the index of words narrows to, and what is left to the rows that it is about."""
    by_words = {name: values for name, values in scope.items() if len(values) < many}
    return by_words, {name: scope[name] for name in scope if name not in by_words}


def _belongs(
    index: WordIndex, ident: ColumnElement[Any], scope: Scope
) -> list[ColumnElement[bool]]:
    rows = table(index.table, column("id", Uuid()), *(column(name, Uuid()) for name in scope))
    return [
        ident.in_(select(rows.c.id).where(_is_one_of(rows.c[name], values)))
        for name, values in scope.items()
    ]


def _is_one_of(
    owner: ColumnElement[Any], values: Sequence[uuid.UUID | None]
) -> ColumnElement[bool]:
    named = owner.in_([each for each in values if each is not None])
    return or_(named, owner.is_(None)) if None in values else named


def _most_ranked(query: WordQuery) -> int:
    return MAX_RANKED_BY_ANY if query.is_any else MAX_RANKED


class _SqliteIndex:
    def __init__(self, index: WordIndex) -> None:
        name = index.name
        self.definition = (
            "USING fts5(ident, scope, head, body, "
            "tokenize = 'porter unicode61 remove_diacritics 0')"
        )

        def values(row: str) -> str:
            scope = " || ' ' || ".join(
                f"'{_prefix(each)}' || coalesce({row}.{each}, 'none')" for each in index.scopes
            )
            body = f"{row}.{index.body}"
            return f"{row}.id, {scope}, {_head(index, row)}, {_leaves(body, index)}"

        into = f"INSERT INTO {name} (ident, scope, head, body)"
        self.fill = f"{into} SELECT {values('r')} FROM {index.table} AS r ORDER BY r.id"
        self.add = f"{into} VALUES ({values('NEW')})"
        self.remove = (
            f"DELETE FROM {name} WHERE rowid IN "
            f"(SELECT rowid FROM {name} WHERE {name} MATCH 'ident:' || OLD.id)"
        )


def _leaves(column: str, index: WordIndex) -> str:
    """A text; of a document its keys, texts and numbers."""
    if not index.is_json:
        return column
    key = "CASE WHEN typeof(key) = 'text' THEN key ELSE '' END"
    leaf = "CASE WHEN type IN ('text', 'integer', 'real') THEN atom ELSE '' END"
    return f"(SELECT group_concat({key} || ' ' || {leaf}, ' ') FROM json_tree({column}))"


class _PostgresIndex:
    def __init__(self, index: WordIndex) -> None:
        name = index.name
        self.function = f"agentvine_keep_{name}"
        self.definition = "(ident uuid PRIMARY KEY, words tsvector NOT NULL)"

        def values(row: str) -> str:
            tokens = ", ".join(
                f"'{_prefix(each)}' || coalesce(replace(CAST({row}.{each} AS text), '-', ''), "
                "'none')"
                for each in index.scopes
            )
            body = f"{row}.{index.body}"
            if index.is_json:
                # As text, without the letters that JSON puts behind a backslash.
                body = rf"regexp_replace(CAST({body} AS text), '\\[nrtbf]', ' ', 'g')"
            return (
                f"{row}.id, array_to_tsvector(ARRAY[{tokens}]) "
                f"|| setweight({_vector(_head(index, row))}, 'A') || {_vector(body)}"
            )

        def row_of(row: str) -> str:
            return f"ROW({', '.join(f'{row}.{each}' for each in ('id', *_kept(index)))})"

        into = f"INSERT INTO {name} (ident, words)"
        self.fill = f"{into} SELECT {values('r')} FROM {index.table} AS r"
        self.keep = (
            "() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF TG_OP = 'UPDATE' THEN IF {row_of('OLD')} IS NOT DISTINCT FROM {row_of('NEW')} "
            "THEN RETURN NULL; END IF; END IF; "
            f"IF TG_OP <> 'INSERT' THEN DELETE FROM {name} WHERE ident = OLD.id; END IF; "
            f"IF TG_OP <> 'DELETE' THEN {into} VALUES ({values('NEW')}); END IF; "
            "RETURN NULL; END $$"
        )


def _kept(index: WordIndex) -> list[str]:
    """The columns whose change is a change of the words."""
    return sorted({*index.scopes, *index.head, index.body})


def _head(index: WordIndex, row: str) -> str:
    return " || ' ' || ".join(f"{row}.{column}" for column in index.head)


def _vector(text: str) -> str:
    """Words as SQLite sees them: without this a path or an address would be one word."""
    blanks = " " * (len(_MARKS) - 1)  # the quote is written twice
    return f"to_tsvector('english', translate({text}, '{_MARKS}', '{blanks}'))"


def _prefix(scope: str) -> str:
    return scope.removesuffix("_id").replace("_", "")


def _tokens(scope: str, values: Sequence[uuid.UUID | None], join: str) -> str:
    """The words that stand for what a row belongs to."""
    return join.join(_prefix(scope) + ("none" if each is None else each.hex) for each in values)


def _match(query: WordQuery, scope: Scope) -> str:
    """The query in FTS5's language; words are letters and digits, so nothing is to be escaped."""
    wanted = (" OR " if query.is_any else " AND ").join(map(_quoted, query.phrases))
    match = f"({{head body}} : ({wanted}))"
    for name, values in scope.items():
        match = f"((scope : ({_tokens(name, values, ' OR ')})) AND {match})"
    for phrase in query.without:
        match = f"({match} NOT ({{head body}} : {_quoted(phrase)}))"
    return match


def _quoted(phrase: Phrase) -> str:
    return f'"{" ".join(phrase)}"'


def _tsquery(query: WordQuery) -> ColumnElement[Any]:
    join = "||" if query.is_any else "&&"

    def joined(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
        return one.op(join, return_type=TSQUERY())(other)

    wanted = reduce(joined, map(_phrase, query.phrases))
    for phrase in query.without:
        unwanted = func.tsquery_not(_phrase(phrase), type_=TSQUERY())
        wanted = wanted.op("&&", return_type=TSQUERY())(unwanted)
    return wanted


def _phrase(phrase: Phrase) -> ColumnElement[Any]:
    return func.phraseto_tsquery(_LANGUAGE, literal(" ".join(phrase), Text()), type_=TSQUERY())
