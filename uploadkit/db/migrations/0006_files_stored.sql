-- How many live files are UPLOADED, written by quotas.py alone like the other counters: counting them reads an index entry for each.
ALTER TABLE project ADD COLUMN files_stored INTEGER NOT NULL DEFAULT 0 CHECK (files_stored >= 0);
UPDATE project SET files_stored = (
  SELECT count(*) FROM file WHERE project_id = project.id AND environment = 'live' AND status <> 'DELETED' AND status = 'UPLOADED');
