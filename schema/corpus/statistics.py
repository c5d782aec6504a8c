"""What PostgreSQL's planner knows of the tables, brought up to date after a large load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgfolio.schema.corpus import word_statistics
from pgfolio.schema.database.statements import statement
from pgfolio.schema.vectors.storage import vector_statement

if TYPE_CHECKING:
    from pgfolio.schema.database.connect import Connection
    from pgfolio.schema.records import Generation


def analyze(connection: Connection, generation: Generation) -> None:
    """After a large load: fresh statistics, of words too, and the lexemes that wait beside their index put into it,
    without which every word is looked for in the waiting list too (10 times slower). In the caller's transaction."""
    connection.execute(statement("clean_lexemes"))
    connection.execute(vector_statement("analyze_tables", generation))
    word_statistics.count(connection)
