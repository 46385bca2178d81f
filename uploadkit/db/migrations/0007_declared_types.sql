-- The media type as the client wrote it, where that is not what is kept of it: the PUT of its bytes is signed with it.
-- NULL: it is content_type, as in all rows of before, or none was declared (type_declared = 0).
ALTER TABLE file ADD COLUMN declared_type TEXT;
