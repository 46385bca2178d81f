"""Hand-made SQL of the hot path says the same as peewee."""

from __future__ import annotations

from tests.conftest import App
from uploadkit.db import connection, statements
from uploadkit.db.models import File, FileRoute, Project

FACTS = {
    "id": "f1",
    "environment": "live",
    "route_slug": "default",
    "key": "k/ü",
    "file_name": "ü \U0001f600.jpg",
    "size_bytes": 5,
    "content_type": "image/jpeg",
    "visibility": "public",
    "metadata": {"a": [1, 2.5, None, True, "ü\u2028"], "b": {"c": {}}},
    "status": "UPLOADING",
    "expires_at": 1,
    "deadline_at": 2,
    "created_at": 3,
    "updated_at": 4,
}


def test_a_row_is_inserted_as_peewee_would(app: App) -> None:
    project = app.project.id
    with connection.write():
        statements.insert(statements.new(File, number=1, project=project, **FACTS))
        File.create(number=2, project=project, **FACTS | {"id": "f2", "key": "k2"})
    one, two = (connection.execute("SELECT * FROM file WHERE id = ?", (id_,)).fetchone() for id_ in ("f1", "f2"))
    different = [(ours, theirs) for ours, theirs in zip(one, two, strict=True) if ours != theirs]
    assert different[:3] == [(1, 2), ("f1", "f2"), ("k/ü", "k2")]
    assert [type(value) for value in one] == [type(value) for value in two]
    assert len(different) in (3, 4), "JSON may be written with or without escapes, and that is all"
    assert File.get_by_id("f1").__data__ == File.get_by_id("f2").__data__ | {"number": 1, "id": "f1", "key": "k/ü"}


def test_a_row_is_read_as_peewee_would(app: App) -> None:
    with connection.write():
        statements.insert(statements.new(File, number=1, project=app.project.id, **FACTS))
        FileRoute.update(verify_content=False, allowed_types=["image/*"]).where(FileRoute.project == app.project.id).execute()
    for model in (File, FileRoute, Project):
        theirs = model.select().first()
        ours = statements.find(model, "id = ?", theirs.id)
        assert ours is not None
        assert ours.__data__ == theirs.__data__
        assert {name: type(value) for name, value in ours.__data__.items()} == {k: type(v) for k, v in theirs.__data__.items()}
        assert ours.dirty_fields == []
    assert statements.find(File, "id = ? AND status = ?", "f1", "UPLOADED") is None


def test_defaults_are_made_anew_for_each_row() -> None:
    one, two = statements.new(File), statements.new(File)
    one.metadata["a"] = 1
    assert two.metadata == {}
    assert one.__data__.keys() == File().__data__.keys()
