-- What an upload token has taken, and which of its uploads were refused, is counted in these alone: a row of `file` may have 16 KiB of
-- metadata before the columns that are asked for.
CREATE INDEX file_taken_by_token ON file (upload_token_id, size_bytes, status, uploaded_at)
 WHERE upload_token_id IS NOT NULL AND (status = 'UPLOADING' OR uploaded_at IS NOT NULL);
CREATE INDEX file_refused_by_token ON file (upload_token_id, deadline_at, status, part_size_bytes)
 WHERE upload_token_id IS NOT NULL AND status = 'FAILED' AND part_size_bytes IS NULL;

-- Uploads that nothing came of, whether somebody deleted them after that or not: of each project the newest are kept.
CREATE INDEX file_come_to_nothing ON file (project_id, environment, number DESC, api_key_id, status, uploaded_at)
 WHERE uploaded_at IS NULL AND status IN ('FAILED', 'DELETED');

-- All that waits in a project, and a project's test events of webhooks, which have no file.
CREATE INDEX webhook_delivery_waiting ON webhook_delivery (project_id) WHERE status = 'pending';
CREATE INDEX webhook_delivery_tests_of ON webhook_delivery (project_id, environment, created_at DESC) WHERE file_id IS NULL;
