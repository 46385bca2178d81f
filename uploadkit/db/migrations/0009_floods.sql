-- Upload tokens: for several file routes, and with a count of the uploads that were ever begun with each (not only those under way).
CREATE TABLE upload_token_made_anew (
  id TEXT NOT NULL PRIMARY KEY,
  project_id TEXT NOT NULL REFERENCES project (id),
  api_key_id TEXT NOT NULL REFERENCES api_key (id) ON DELETE CASCADE,
  token_hash TEXT NOT NULL UNIQUE,
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  metadata TEXT NOT NULL DEFAULT '{}',
  max_files INTEGER NOT NULL CHECK (max_files > 0),
  max_bytes INTEGER CHECK (max_bytes > 0),
  uploads_begun INTEGER NOT NULL DEFAULT 0,
  expires_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  revoked_at INTEGER
) STRICT;
INSERT INTO upload_token_made_anew
SELECT id, project_id, api_key_id, token_hash, environment, metadata, max_files, max_bytes,
       (SELECT count(*) FROM file WHERE upload_token_id = upload_token.id), expires_at, created_at, revoked_at FROM upload_token;
-- `place` is where the file route stands in the answer that made the token.
CREATE TABLE upload_token_route (
  upload_token_id TEXT NOT NULL REFERENCES upload_token_made_anew (id) ON DELETE CASCADE,
  file_route_id TEXT NOT NULL REFERENCES file_route (id) ON DELETE CASCADE,
  place INTEGER NOT NULL,
  PRIMARY KEY (upload_token_id, file_route_id)
) STRICT, WITHOUT ROWID;
INSERT INTO upload_token_route SELECT id, file_route_id, 0 FROM upload_token;
DROP TABLE upload_token;
ALTER TABLE upload_token_made_anew RENAME TO upload_token;
CREATE INDEX upload_token_by_project ON upload_token (project_id);
CREATE INDEX upload_token_by_api_key ON upload_token (api_key_id);
CREATE INDEX upload_token_oldest_first ON upload_token (expires_at);
CREATE INDEX upload_token_route_by_file_route ON upload_token_route (file_route_id);
-- A token without any file route left is good for nothing.
CREATE TRIGGER upload_token_route_delete AFTER DELETE ON upload_token_route
WHEN NOT EXISTS (SELECT 1 FROM upload_token_route WHERE upload_token_id = old.upload_token_id) BEGIN
  DELETE FROM upload_token WHERE id = old.upload_token_id;
END;

-- How many uploads each address began without a token, by hour; with the network '' those of all addresses of a project, by day.
CREATE TABLE anonymous_begun (
  project_id TEXT NOT NULL REFERENCES project (id) ON DELETE CASCADE,
  network TEXT NOT NULL,
  began_at INTEGER NOT NULL,
  uploads INTEGER NOT NULL,
  PRIMARY KEY (project_id, network, began_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX anonymous_begun_oldest_first ON anonymous_begun (began_at);

-- What the sandbox holds is counted at each of its requests, in the index alone.
CREATE INDEX file_held_by_sandbox ON file (project_id, status, size_bytes) WHERE environment = 'test';
-- What browsers began and nothing came of goes within a day; of what keys began, all but the newest.
CREATE INDEX file_begun_by_browser ON file (updated_at)
 WHERE status = 'FAILED' AND (upload_token_id IS NOT NULL OR client_network IS NOT NULL);
CREATE INDEX webhook_delivery_by_file ON webhook_delivery (file_id) WHERE file_id IS NOT NULL;
CREATE INDEX webhook_delivery_of_tests ON webhook_delivery (ended_at) WHERE file_id IS NULL;
-- The oldest of a project's entries go when there are too many.
CREATE INDEX audit_by_project ON audit (project_id, at, id);

-- The short address /api/uploadkit/{slug}, which names no project, is the first project's. File routes that had it before keep it, for
-- the origins that they had then: no two had one of a slug in common.
ALTER TABLE file_route ADD COLUMN short_origins TEXT NOT NULL DEFAULT '[]';
UPDATE file_route SET short_origins = allowed_origins WHERE anonymous_uploads = 1;
INSERT OR IGNORE INTO setting (name, value)
SELECT 'first_project', id FROM project WHERE deleted_at IS NULL ORDER BY created_at, id LIMIT 1;
