-- Removing a key has the files that refer to it looked up; without an index, each removal would read the whole table.
CREATE INDEX file_by_api_key ON file (api_key_id);
