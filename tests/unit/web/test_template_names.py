"""What a template reads, its view passes: Jinja takes a name that nobody passes for nothing, without a word."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from jinja2 import meta, nodes

import uploadkit
from tests.conftest import App

# What a page may set, and layout.html asks for: the list that it is in where live and test differ.
OPTIONAL = {"switch"}
WEB = Path(uploadkit.__file__).parent / "web"


def calls() -> Iterator[tuple[str, str, set[str], bool]]:
    """Each call of `render_template` with a plain name: where it stands, the template, what it passes, and whether that is all."""
    for path in sorted(WEB.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="render_template"), args=[ast.Constant(value=str(name))], keywords=keywords):
                    given = {keyword.arg for keyword in keywords if keyword.arg}
                    yield f"{path.name}:{node.lineno}", name, given, all(keyword.arg for keyword in keywords)


def names_read(app: App, template: str) -> set[str]:
    """The names that a template, and all that it stands on or includes, reads and does not set."""
    environment = app.client().application.jinja_env
    assert environment.loader is not None
    read: set[str] = set()
    set_here: set[str] = set()
    todo = [template]
    while todo:
        source, _, _ = environment.loader.get_source(environment, todo.pop())
        tree = environment.parse(source)
        read |= meta.find_undeclared_variables(tree)
        set_here |= {node.name for node in tree.find_all(nodes.Name) if node.ctx in ("store", "param")}
        set_here |= {node.name for node in tree.find_all(nodes.Macro)}
        for imported in tree.find_all(nodes.FromImport):
            set_here |= {name if isinstance(name, str) else name[1] for name in imported.names}
        todo += [name for name in meta.find_referenced_templates(tree) if name]
    return read - set_here - set(environment.globals) - OPTIONAL


def test_every_name_is_passed(app: App) -> None:
    flask = app.client().application
    with flask.test_request_context("/dashboard/sign-in"):
        common: set[str] = set()
        flask.preprocess_request()
        for functions in flask.template_context_processors.values():
            for function in functions:
                common |= set(function())
    found = list(calls())
    assert len(found) > 20
    missing = {
        f"{where} {template}": sorted(left)
        for where, template, given, is_all in found
        if is_all and (left := names_read(app, template) - given - common)
    }
    assert missing == {}
