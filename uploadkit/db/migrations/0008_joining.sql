-- When the store was last asked to put the parts of an upload together. From then on its bytes may stand under the final key, looked at
-- by nobody, so `sweep_at` is about a minute away until they have been.
ALTER TABLE file ADD COLUMN joining_at INTEGER;
