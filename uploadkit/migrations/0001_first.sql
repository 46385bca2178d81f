-- Times are milliseconds since the epoch (UTC); sizes are bytes; columns named *_json hold JSON text.

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

CREATE TABLE file (
  id TEXT NOT NULL PRIMARY KEY,
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
CREATE INDEX file_newest_first ON file (project_id, environment, created_at DESC, id DESC);
CREATE INDEX file_to_sweep ON file (sweep_at) WHERE sweep_at IS NOT NULL;

CREATE TABLE usage (
  project_id TEXT NOT NULL REFERENCES project (id),
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  period TEXT NOT NULL,
  uploads INTEGER NOT NULL DEFAULT 0,
  bytes_uploaded INTEGER NOT NULL DEFAULT 0,
  bytes_deleted INTEGER NOT NULL DEFAULT 0,
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
