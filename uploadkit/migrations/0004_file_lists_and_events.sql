-- Files get a number: created_at * 2^20 plus a counter within that millisecond. It is the rowid, the order of every list, the cursor,
-- and the row's name in the search index. A rowid without a column of its own might change under VACUUM.
CREATE TABLE numbered_file (
  number INTEGER NOT NULL PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  project_id TEXT NOT NULL REFERENCES project (id),
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  route_slug TEXT NOT NULL,
  api_key_id TEXT REFERENCES api_key (id),
  key TEXT NOT NULL UNIQUE,
  file_name TEXT NOT NULL,
  size_bytes INTEGER NOT NULL CHECK (size_bytes > 0),
  content_type TEXT NOT NULL,
  visibility TEXT NOT NULL CHECK (visibility IN ('public', 'private')),
  metadata TEXT NOT NULL DEFAULT '{}',
  status TEXT NOT NULL CHECK (status IN ('UPLOADING', 'UPLOADED', 'FAILED', 'DELETED')),
  failure TEXT CHECK (failure IN ('aborted', 'expired', 'not_verified')),
  failure_message TEXT,
  etag TEXT,
  -- Multipart uploads only: part_size_bytes from the start, upload_id once the store has answered.
  part_size_bytes INTEGER,
  upload_id TEXT,
  -- Bytes of the project's quota that this row still holds as a reservation.
  reserved_bytes INTEGER NOT NULL DEFAULT 0 CHECK (reserved_bytes >= 0),
  expires_at INTEGER NOT NULL,
  -- From here on no upload URL of this row can store anything any more.
  deadline_at INTEGER NOT NULL,
  -- When housekeeping has to look at this row next; NULL: never again.
  sweep_at INTEGER,
  sweep_attempts INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  uploaded_at INTEGER,
  deleted_at INTEGER,
  CHECK (status <> 'FAILED' OR failure IS NOT NULL)
) STRICT;
INSERT INTO numbered_file
SELECT created_at * 1048576 + row_number() OVER (PARTITION BY created_at ORDER BY id) - 1, id, project_id, environment, route_slug,
  api_key_id, key, file_name, size_bytes, content_type, visibility, metadata, status, failure, failure_message, etag, part_size_bytes,
  upload_id, reserved_bytes, expires_at, deadline_at, sweep_at, sweep_attempts, created_at, updated_at, uploaded_at, deleted_at FROM file;
DROP TABLE file;
ALTER TABLE numbered_file RENAME TO file;

-- Lists: the columns behind `number` let every filter be decided in the index, without a look at the row.
CREATE INDEX file_newest_first ON file (project_id, environment, number DESC, status, route_slug, content_type) WHERE status <> 'DELETED';
CREATE INDEX file_deleted ON file (project_id, environment, number DESC) WHERE status = 'DELETED';
CREATE INDEX file_to_sweep ON file (sweep_at) WHERE sweep_at IS NOT NULL;
CREATE INDEX file_in_sandbox ON file (number) WHERE environment = 'test';
CREATE INDEX webhook_delivery_by_file ON webhook_delivery (file_id) WHERE file_id IS NOT NULL;

-- Search in file names. `scope` is one trigram, made of environment and project: it keeps a search from walking through the matches of
-- other projects. Two projects may share one; the query asks for the project itself, too.
CREATE VIEW file_searched AS SELECT number, substr(environment, 1, 1) || substr(project_id, -2) AS scope, file_name FROM file;
CREATE VIRTUAL TABLE file_search USING fts5 (scope, file_name, content = 'file_searched', content_rowid = 'number', tokenize = 'trigram');
INSERT INTO file_search (file_search) VALUES ('rebuild');
CREATE TRIGGER file_search_insert AFTER INSERT ON file BEGIN
  INSERT INTO file_search (rowid, scope, file_name)
  VALUES (new.number, substr(new.environment, 1, 1) || substr(new.project_id, -2), new.file_name);
END;
CREATE TRIGGER file_search_delete AFTER DELETE ON file BEGIN
  INSERT INTO file_search (file_search, rowid, scope, file_name)
  VALUES ('delete', old.number, substr(old.environment, 1, 1) || substr(old.project_id, -2), old.file_name);
END;
CREATE TRIGGER file_search_update AFTER UPDATE OF number, project_id, environment, file_name ON file BEGIN
  INSERT INTO file_search (file_search, rowid, scope, file_name)
  VALUES ('delete', old.number, substr(old.environment, 1, 1) || substr(old.project_id, -2), old.file_name);
  INSERT INTO file_search (rowid, scope, file_name)
  VALUES (new.number, substr(new.environment, 1, 1) || substr(new.project_id, -2), new.file_name);
END;

-- One row per change of state of a file, written in the same transaction. No reference to the file row: the log outlives it.
CREATE TABLE event (
  sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL,
  at INTEGER NOT NULL,
  event TEXT NOT NULL,
  project_id TEXT NOT NULL REFERENCES project (id),
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  file_id TEXT NOT NULL,
  key TEXT NOT NULL,
  file_name TEXT NOT NULL,
  route_slug TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('UPLOADING', 'UPLOADED', 'FAILED', 'DELETED')),
  detail TEXT,
  metadata TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX event_newest_first ON event (project_id, environment, at DESC, id DESC, status);

-- What the rows of files that are gone for good had counted, so that `usage verify` can recompute a month after they went.
ALTER TABLE usage ADD COLUMN purged_uploads INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN purged_bytes_uploaded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN purged_bytes_deleted INTEGER NOT NULL DEFAULT 0;
