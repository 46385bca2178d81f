-- Webhooks (decision 13). Deliveries and attempts were there, but nothing wrote them: they are made anew.
DROP TABLE webhook_attempt;
DROP TABLE webhook_delivery;

-- One URL that a project's events of one environment go to: what a run of dead deliveries is counted by, and what is paused after it.
-- `origin` is scheme, host and port: what is not called more than twice at a time.
CREATE TABLE webhook_destination (
  id TEXT NOT NULL PRIMARY KEY,
  project_id TEXT NOT NULL REFERENCES project (id),
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  url TEXT NOT NULL,
  origin TEXT NOT NULL,
  -- When something was last sent there, and whether the last attempt arrived: whose turn it is goes by them. NULL: nothing was sent yet.
  called_at INTEGER,
  arrived INTEGER CHECK (arrived IN (0, 1)),
  -- Distinct deliveries that died since `counted_from`, when one arrived or somebody resumed the destination.
  dead_in_a_row INTEGER NOT NULL DEFAULT 0 CHECK (dead_in_a_row >= 0),
  counted_from INTEGER NOT NULL DEFAULT 0,
  paused_at INTEGER,
  created_at INTEGER NOT NULL,
  UNIQUE (project_id, environment, url)
) STRICT;
CREATE INDEX webhook_destination_newest_first ON webhook_destination (project_id, environment, created_at DESC, id DESC);

-- The outbox: one event on its way to one destination. No reference to file and event: it outlives both.
CREATE TABLE webhook_delivery (
  id TEXT NOT NULL PRIMARY KEY,
  destination_id TEXT NOT NULL REFERENCES webhook_destination (id),
  project_id TEXT NOT NULL REFERENCES project (id),
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  event_id TEXT NOT NULL,
  event TEXT NOT NULL,
  -- NULL: a test event, which is about no file.
  file_id TEXT,
  -- Exactly the bytes that are sent and signed.
  payload TEXT NOT NULL,
  -- Somebody asked for the next attempt, which is made though the destination is paused.
  by_hand INTEGER NOT NULL DEFAULT 0 CHECK (by_hand IN (0, 1)),
  status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivering', 'delivered', 'dead')),
  -- All attempts ever, and those since it was queued or redelivered last: the schedule goes by the latter.
  attempts INTEGER NOT NULL DEFAULT 0,
  attempts_in_round INTEGER NOT NULL DEFAULT 0,
  next_attempt_at INTEGER,
  leased_until INTEGER,
  last_status_code INTEGER,
  last_error TEXT,
  created_at INTEGER NOT NULL,
  -- When it was delivered or dead last, also while it is tried again.
  ended_at INTEGER,
  CHECK (status NOT IN ('delivered', 'dead') OR ended_at IS NOT NULL),
  CHECK ((status = 'pending') = (next_attempt_at IS NOT NULL)),
  CHECK ((status = 'delivering') = (leased_until IS NOT NULL))
) STRICT;
CREATE INDEX webhook_delivery_due ON webhook_delivery (destination_id, next_attempt_at) WHERE status = 'pending';
-- What somebody asked for is sent to a paused destination, too; it must not be looked for among all that waits there.
CREATE INDEX webhook_delivery_due_by_hand ON webhook_delivery (destination_id, next_attempt_at) WHERE status = 'pending' AND by_hand = 1;
CREATE INDEX webhook_delivery_in_flight ON webhook_delivery (leased_until) WHERE status = 'delivering';
CREATE INDEX webhook_delivery_newest_first ON webhook_delivery (project_id, environment, created_at DESC, id DESC, status);
-- Removing a destination has the deliveries that refer to it looked up.
CREATE INDEX webhook_delivery_by_destination ON webhook_delivery (destination_id);

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

-- `whsec_…`, twice: receivers accept both, deliveries are signed as webhooks/signatures.py says.
CREATE TABLE webhook_secret (
  project_id TEXT NOT NULL PRIMARY KEY REFERENCES project (id),
  current_secret TEXT NOT NULL,
  next_secret TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  rotated_at INTEGER
) STRICT;

-- What a payload tells of a file must be there after the file's own row has gone.
ALTER TABLE event ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE event ADD COLUMN content_type TEXT NOT NULL DEFAULT 'application/octet-stream';
ALTER TABLE event ADD COLUMN visibility TEXT NOT NULL DEFAULT 'private' CHECK (visibility IN ('public', 'private'));
ALTER TABLE event ADD COLUMN file_created_at INTEGER NOT NULL DEFAULT 0;
UPDATE event SET file_created_at = at;
UPDATE event SET size_bytes = file.size_bytes, content_type = file.content_type, visibility = file.visibility,
                 file_created_at = file.created_at
  FROM file WHERE file.id = event.file_id;
-- How far the feed of a project and environment was forgotten: whoever has read less than that has missed something.
CREATE TABLE event_forgotten (
  project_id TEXT NOT NULL REFERENCES project (id),
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  sequence INTEGER NOT NULL,
  PRIMARY KEY (project_id, environment)
) STRICT;
-- The feed of events, oldest first: all but the requests for uploads, of which nothing may ever come.
CREATE INDEX event_feed ON event (project_id, environment, sequence) WHERE status <> 'UPLOADING';
