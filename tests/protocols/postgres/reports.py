"""What real servers say beside rows, and a table whose values they may quote."""

import psycopg
from psycopg.pq import DiagnosticField

Connection = psycopg.Connection[tuple[object, ...]]
Fields = tuple[tuple[str, str], ...]

SECRET = "jane@example.com"
SETUP = (
    "CREATE TABLE people (id int PRIMARY KEY, email text UNIQUE, age int CHECK (age > 0), "
    "name text NOT NULL)",
    "CREATE TABLE child (id int REFERENCES people)",
    f"INSERT INTO people VALUES (1, '{SECRET}', 3, 'x')",
    "CREATE DOMAIN mailless AS text CHECK (VALUE !~ '@')",
    """CREATE FUNCTION told() RETURNS int LANGUAGE plpgsql AS $$
       DECLARE e text; BEGIN SELECT email INTO e FROM people;
       RAISE EXCEPTION '%', e USING ERRCODE = '42501', DETAIL = e, HINT = e, COLUMN = e,
       CONSTRAINT = e, DATATYPE = e, TABLE = e, SCHEMA = e; END $$""",
    """CREATE FUNCTION dynamic() RETURNS int LANGUAGE plpgsql AS $$
       DECLARE e text; BEGIN SELECT email INTO e FROM people;
       EXECUTE 'SELECT ' || quote_ident(e); RETURN 1; END $$""",
    """CREATE FUNCTION unparsable() RETURNS int LANGUAGE plpgsql AS $$
       DECLARE e text; BEGIN SELECT email INTO e FROM people; EXECUTE e; RETURN 1; END $$""",
    """CREATE FUNCTION cast_inside() RETURNS int LANGUAGE sql AS
       $$ SELECT (SELECT email FROM people)::int $$""",
)


def people(connection: Connection) -> Connection:
    """Makes the table `people` with a masked value in it, and what else quotes it."""
    for statement in SETUP:
        connection.execute(statement.encode())
    return connection


def said(connection: Connection, statement: str) -> list[Fields]:
    """What the server says to a statement beside rows: (code on the wire, text) each."""
    reports: list[Fields] = []

    def hear(diagnostic: psycopg.errors.Diagnostic) -> None:
        reports.append(_fields(diagnostic))

    connection.add_notice_handler(hear)
    try:
        if statement.startswith("COPY"):
            with connection.cursor().copy(statement.encode()) as copy:
                list(copy)
        else:
            connection.execute(statement.encode())
    except psycopg.Error as error:
        reports.append(_fields(error.diag))
    finally:
        connection.remove_notice_handler(hear)
    return reports


def _fields(diagnostic: psycopg.errors.Diagnostic) -> Fields:
    read = ((chr(code), diagnostic._error_message(code)) for code in DiagnosticField)
    return tuple((code, text) for code, text in read if text is not None)
