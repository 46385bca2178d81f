"""The object store: the bundled one (`bundled.py`), any S3 endpoint (`s3.py`), and the signer (`presign.py`)."""
