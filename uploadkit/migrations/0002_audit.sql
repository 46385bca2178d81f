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
