-- Who may use the dashboard. The address is kept in small letters; the hash is argon2id, with its parameters.
CREATE TABLE admin (
  id TEXT NOT NULL PRIMARY KEY,
  email TEXT NOT NULL UNIQUE,
  password_hash TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  password_changed_at INTEGER NOT NULL
) STRICT;

-- A browser that has signed in: of its cookie only the SHA-256 is kept. `notice` is what its next page has to tell.
CREATE TABLE admin_session (
  token_hash TEXT NOT NULL PRIMARY KEY,
  admin_id TEXT NOT NULL REFERENCES admin (id) ON DELETE CASCADE,
  client TEXT NOT NULL,
  user_agent TEXT NOT NULL,
  notice TEXT,
  created_at INTEGER NOT NULL,
  seen_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX admin_session_by_admin ON admin_session (admin_id);

-- One-time links that make an admin: of their token only the SHA-256 is kept.
CREATE TABLE setup_link (
  token_hash TEXT NOT NULL PRIMARY KEY,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT;

-- The pages that read these lists.
CREATE INDEX audit_newest_first ON audit (at DESC, id DESC);
CREATE INDEX event_by_file ON event (file_id, sequence);
