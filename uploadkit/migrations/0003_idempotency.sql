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
