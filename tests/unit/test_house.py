"""SQL and peewee stand in `db/` and in the packages' queries alone; who calls these passes plain values (CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import uploadkit

ROOT = Path(uploadkit.__file__).parent
A_STATEMENT = re.compile(
    r"\s*(SELECT\b.+\bFROM|INSERT (OR \w+ )?INTO|UPDATE \w+ SET|DELETE FROM|WITH \w.+\bAS \(|(CREATE|DROP|ALTER) |PRAGMA )", re.S
)
# What a module gets its hands on the database with; `write`, `snapshot` and `on_commit` only say what is one transaction.
TOOLS = {("uploadkit.db.connection", "execute"), ("uploadkit.db", "statements"), ("uploadkit.db.models", "database")}
OF_A_QUERY = {"where", "order_by", "execute_sql", "get_by_id", "get_or_none"}


def is_for_queries(module: Path) -> bool:
    package, *rest = module.relative_to(ROOT).with_suffix("").parts
    return package == "db" or "queries" in rest


MODULES = [path for path in sorted(ROOT.rglob("*.py")) if not is_for_queries(path)]


def found_in(tree: ast.Module) -> Iterator[str]:
    """What a module has of SQL and of peewee: statements, the tools to run them, and rows' classes used for more than as a type."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    models = {name.asname or name.name for node in imports if node.module == "uploadkit.db.models" for name in node.names}
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=module, names=names):
                yield from (f"imports {name.name}" for name in names if (module, name.name) in TOOLS)
            case ast.Constant(value=str(text)) if A_STATEMENT.match(text):
                yield f"has a statement: {text.strip()[:40]}"
            case ast.Attribute(value=ast.Name(id=name)) | ast.Call(func=ast.Name(id=name)) if name in models:
                yield f"line {node.lineno}: uses {name}"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="connection"), attr="execute")):
                yield f"line {node.lineno}: connection.execute()"
            case ast.Call(func=ast.Attribute(attr=name)) if name in OF_A_QUERY:
                yield f"line {node.lineno}: .{name}()"


def test_who_decides_holds_no_statements() -> None:
    found = {str(module.relative_to(ROOT)): list(found_in(ast.parse(module.read_text(encoding="utf-8")))) for module in MODULES}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "source",
    [
        'sql = "SELECT id FROM file"',
        'sql = f"DELETE FROM {table} WHERE id = ?"',
        'sql = """\nUPDATE file SET status = 1\n"""',
        'sql = "INSERT OR REPLACE INTO setting VALUES (?)"',
        "from uploadkit.db.connection import execute",
        "from uploadkit.db import connection\nconnection.execute(sql)",
        "from uploadkit.db import statements",
        "from uploadkit.db.models import database",
        "from uploadkit.db.models import File\nrow = File.get(File.id == 1)",
        "from uploadkit.db.models import File as Row\nrow = Row(id=1)",
        "rows = query.where(True)",
    ],
)
def test_what_would_be_found(source: str) -> None:
    assert list(found_in(ast.parse(source)))


def test_what_is_fine() -> None:
    source = '''
from uploadkit.db.connection import write
from uploadkit.db.models import NUMBER_BITS, File
"""Select what FROM here; DELETE /files/{key} deletes it."""
def number(file: File) -> list[File] | None:
    kept: File = file
    return [kept] if NUMBER_BITS else None
'''
    assert list(found_in(ast.parse(source))) == []
