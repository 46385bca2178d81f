"""The object store: any S3 endpoint (`store.py`), the one that comes along (`bundled/`), the signer (`sigv4.py`), proofs (`doctor/`)."""
