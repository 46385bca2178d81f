-- How many requests there were on each day (UTC, such as 2026-04-08), by API key, upload token or anonymous page; written in batches.
CREATE TABLE request_count (
  project_id TEXT NOT NULL REFERENCES project (id),
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  day TEXT NOT NULL,
  requests INTEGER NOT NULL CHECK (requests > 0),
  PRIMARY KEY (project_id, environment, day)
) STRICT, WITHOUT ROWID;

-- Files in the two states that few are in: without it, a search for them walks through all the others.
CREATE INDEX file_unfinished ON file (project_id, environment, status, number DESC) WHERE status = 'UPLOADING' OR status = 'FAILED';

-- The log: by file route, too, without a look at the rows, and what is rare without a walk through the rest.
DROP INDEX event_newest_first;
CREATE INDEX event_newest_first ON event (project_id, environment, at DESC, id DESC, status, route_slug);
CREATE INDEX event_rare ON event (project_id, environment, status, at DESC, id DESC) WHERE status = 'FAILED' OR status = 'DELETED';

-- Searches of one and two characters. Behind each name stand two characters that are in no name, so that whatever one or two characters a
-- name holds begin one of its trigrams; the vocabulary tells which trigrams begin so.
DROP TRIGGER file_search_insert;
DROP TRIGGER file_search_delete;
DROP TRIGGER file_search_update;
DROP TABLE file_search;
DROP VIEW file_searched;
CREATE VIEW file_searched AS
SELECT number, substr(environment, 1, 1) || substr(project_id, -2) AS scope, file_name || char(31, 31) AS file_name FROM file;
CREATE VIRTUAL TABLE file_search USING fts5 (scope, file_name, content = 'file_searched', content_rowid = 'number', tokenize = 'trigram');
INSERT INTO file_search (file_search) VALUES ('rebuild');
CREATE VIRTUAL TABLE file_search_vocabulary USING fts5vocab (file_search, instance);
CREATE TRIGGER file_search_insert AFTER INSERT ON file BEGIN
  INSERT INTO file_search (rowid, scope, file_name)
  VALUES (new.number, substr(new.environment, 1, 1) || substr(new.project_id, -2), new.file_name || char(31, 31));
END;
CREATE TRIGGER file_search_delete AFTER DELETE ON file BEGIN
  INSERT INTO file_search (file_search, rowid, scope, file_name)
  VALUES ('delete', old.number, substr(old.environment, 1, 1) || substr(old.project_id, -2), old.file_name || char(31, 31));
END;
CREATE TRIGGER file_search_update AFTER UPDATE OF number, project_id, environment, file_name ON file BEGIN
  INSERT INTO file_search (file_search, rowid, scope, file_name)
  VALUES ('delete', old.number, substr(old.environment, 1, 1) || substr(old.project_id, -2), old.file_name || char(31, 31));
  INSERT INTO file_search (rowid, scope, file_name)
  VALUES (new.number, substr(new.environment, 1, 1) || substr(new.project_id, -2), new.file_name || char(31, 31));
END;
