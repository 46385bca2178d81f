"""What the database is asked and told of uploads and files: `uploads`, `files` with `search`, `upload_tokens`, `anonymous_uploads`."""
