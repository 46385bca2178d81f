-- Times are milliseconds since the epoch (UTC); sizes are bytes; metadata, overrides and lists are JSON text.

CREATE TABLE project (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  slug TEXT NOT NULL UNIQUE,
  tier TEXT NOT NULL,
  limit_overrides TEXT NOT NULL DEFAULT '{}',
  retention_days INTEGER CHECK (retention_days > 0),
  -- The three counters below are written by quotas.py alone and can be recomputed from the file table.
  storage_used_bytes INTEGER NOT NULL DEFAULT 0 CHECK (storage_used_bytes >= 0),
  storage_reserved_bytes INTEGER NOT NULL DEFAULT 0 CHECK (storage_reserved_bytes >= 0),
  uploads_reserved INTEGER NOT NULL DEFAULT 0 CHECK (uploads_reserved >= 0),
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  deleted_at INTEGER
) STRICT;

CREATE TABLE api_key (
  id TEXT NOT NULL PRIMARY KEY,
  project_id TEXT NOT NULL REFERENCES project (id),
  name TEXT NOT NULL,
  key_hash TEXT NOT NULL UNIQUE,
  masked_key TEXT NOT NULL,
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  access TEXT NOT NULL CHECK (access IN ('project', 'account')),
  created_at INTEGER NOT NULL,
  last_used_at INTEGER,
  revoked_at INTEGER,
  CHECK (environment = 'live' OR access = 'project')
) STRICT;
CREATE INDEX api_key_by_project ON api_key (project_id, created_at DESC, id DESC);

CREATE TABLE file_route (
  id TEXT NOT NULL PRIMARY KEY,
  project_id TEXT NOT NULL REFERENCES project (id),
  slug TEXT NOT NULL,
  max_file_size_bytes INTEGER CHECK (max_file_size_bytes > 0),
  max_file_count INTEGER NOT NULL DEFAULT 1 CHECK (max_file_count > 0),
  allowed_types TEXT NOT NULL DEFAULT '["*/*"]',
  visibility TEXT NOT NULL DEFAULT 'public' CHECK (visibility IN ('public', 'private')),
  webhook_url TEXT,
  webhook_events TEXT NOT NULL DEFAULT '["onUploadComplete"]',
  verify_content INTEGER NOT NULL DEFAULT 1,
  anonymous_uploads INTEGER NOT NULL DEFAULT 0,
  allowed_origins TEXT NOT NULL DEFAULT '[]',
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (project_id, slug)
) STRICT;

-- Files get a number: created_at * 2^20 plus a counter within that millisecond. It is the rowid, the order of every list, the cursor,
-- and the row's name in the search index. A rowid without a column of its own might change under VACUUM.
CREATE TABLE file (
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

-- Lists: the columns behind `number` let every filter be decided in the index, without a look at the row.
CREATE INDEX file_newest_first ON file (project_id, environment, number DESC, status, route_slug, content_type) WHERE status <> 'DELETED';
CREATE INDEX file_deleted ON file (project_id, environment, number DESC) WHERE status = 'DELETED';
CREATE INDEX file_to_sweep ON file (sweep_at) WHERE sweep_at IS NOT NULL;
CREATE INDEX file_in_sandbox ON file (number) WHERE environment = 'test';
-- Removing a key has the files that refer to it looked up; without an index, each removal would read the whole table.
CREATE INDEX file_by_api_key ON file (api_key_id);

CREATE TABLE usage (
  project_id TEXT NOT NULL REFERENCES project (id),
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  period TEXT NOT NULL,
  uploads INTEGER NOT NULL DEFAULT 0,
  bytes_uploaded INTEGER NOT NULL DEFAULT 0,
  bytes_deleted INTEGER NOT NULL DEFAULT 0,
  -- What the rows of files that are gone for good had counted, so that `usage verify` can recompute a month after they went.
  purged_uploads INTEGER NOT NULL DEFAULT 0,
  purged_bytes_uploaded INTEGER NOT NULL DEFAULT 0,
  purged_bytes_deleted INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (project_id, environment, period)
) STRICT, WITHOUT ROWID;

CREATE TABLE webhook_delivery (
  id TEXT NOT NULL PRIMARY KEY,
  event_id TEXT NOT NULL,
  event TEXT NOT NULL,
  project_id TEXT NOT NULL REFERENCES project (id),
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  file_id TEXT REFERENCES file (id),
  url TEXT NOT NULL,
  payload TEXT NOT NULL,
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivering', 'delivered', 'dead')),
  attempts INTEGER NOT NULL DEFAULT 0,
  next_attempt_at INTEGER,
  leased_until INTEGER,
  last_status_code INTEGER,
  last_error TEXT,
  created_at INTEGER NOT NULL,
  delivered_at INTEGER
) STRICT;
CREATE INDEX webhook_delivery_by_file ON webhook_delivery (file_id) WHERE file_id IS NOT NULL;
CREATE INDEX webhook_delivery_due ON webhook_delivery (next_attempt_at) WHERE status = 'pending';
CREATE INDEX webhook_delivery_newest_first ON webhook_delivery (project_id, environment, created_at DESC, id DESC);

CREATE TABLE webhook_attempt (
  id TEXT NOT NULL PRIMARY KEY,
  delivery_id TEXT NOT NULL REFERENCES webhook_delivery (id) ON DELETE CASCADE,
  started_at INTEGER NOT NULL,
  duration_ms INTEGER NOT NULL,
  request_headers TEXT NOT NULL DEFAULT '{}',
  status_code INTEGER,
  response_excerpt TEXT,
  error TEXT
) STRICT;
CREATE INDEX webhook_attempt_by_delivery ON webhook_attempt (delivery_id, started_at);

CREATE TABLE setting (
  name TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

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

-- Who created, changed, revoked or deleted what. No foreign keys: the trail outlives what it speaks of.
CREATE TABLE audit (
  id TEXT NOT NULL PRIMARY KEY,
  at INTEGER NOT NULL,
  -- The id of an API key, or 'cli' for whoever may run commands on the appliance's machine.
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject_kind TEXT NOT NULL,
  subject_id TEXT NOT NULL,
  project_id TEXT NOT NULL,
  details TEXT NOT NULL DEFAULT '{}'
) STRICT;

CREATE INDEX project_newest_first ON project (created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX file_route_newest_first ON file_route (project_id, created_at DESC, id DESC);

-- What a POST with an Idempotency-Key made, written in the transaction that made it. `endpoint` is method and path.
CREATE TABLE idempotency (
  api_key_id TEXT NOT NULL REFERENCES api_key (id) ON DELETE CASCADE,
  endpoint TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  body_hash TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (api_key_id, endpoint, idempotency_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_oldest_first ON idempotency (created_at);
