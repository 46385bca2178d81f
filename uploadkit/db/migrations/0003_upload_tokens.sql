-- Permissions for browsers (upload_tokens.py). A token goes with its file route and with the API key that made it.
CREATE TABLE upload_token (
  id TEXT NOT NULL PRIMARY KEY,
  project_id TEXT NOT NULL REFERENCES project (id),
  api_key_id TEXT NOT NULL REFERENCES api_key (id) ON DELETE CASCADE,
  file_route_id TEXT NOT NULL REFERENCES file_route (id) ON DELETE CASCADE,
  token_hash TEXT NOT NULL UNIQUE,
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  metadata TEXT NOT NULL DEFAULT '{}',
  max_files INTEGER NOT NULL CHECK (max_files > 0),
  max_bytes INTEGER CHECK (max_bytes > 0),
  expires_at INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  revoked_at INTEGER
) STRICT;
CREATE INDEX upload_token_by_project ON upload_token (project_id);
CREATE INDEX upload_token_by_api_key ON upload_token (api_key_id);
CREATE INDEX upload_token_by_file_route ON upload_token (file_route_id);
CREATE INDEX upload_token_oldest_first ON upload_token (expires_at);

-- 0: the client could not say what type the file is; the URL was signed without one (api.md section 9).
ALTER TABLE file ADD COLUMN type_declared INTEGER NOT NULL DEFAULT 1;
-- What the browser said, apart from what the owner of an upload token vouches for.
ALTER TABLE file ADD COLUMN client_metadata TEXT NOT NULL DEFAULT '{}';
ALTER TABLE event ADD COLUMN client_metadata TEXT NOT NULL DEFAULT '{}';
-- The token that the upload was begun with. No reference: the file outlives it.
ALTER TABLE file ADD COLUMN upload_token_id TEXT;
-- Uploads without key and token: the address (IPv6: the /64) that began it.
ALTER TABLE file ADD COLUMN client_network TEXT;
CREATE INDEX file_by_upload_token ON file (upload_token_id) WHERE upload_token_id IS NOT NULL;
-- Only what holds quota: it is counted at every anonymous request.
CREATE INDEX file_anonymous_pending ON file (project_id, client_network, reserved_bytes) WHERE client_network IS NOT NULL AND reserved_bytes > 0;
CREATE INDEX file_route_anonymous ON file_route (slug) WHERE anonymous_uploads = 1;
