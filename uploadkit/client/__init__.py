"""The Python client: uploads, lists, reads, links and deletes files, makes upload tokens, verifies webhooks. Synchronous.

Needs urllib3 and nothing else of uploadkit, so that it can be used, or copied, without the appliance. It owns retries, parallel parts
and going on after a kill. It refuses to follow redirects, and it never gives the API key to the object store, to a file on disk or to a
message. What this module names is public; the modules below it share the rest among themselves, and it may change.

    client = Client("http://127.0.0.1:8080", os.environ["UPLOADKIT_API_KEY"])
    print(client.upload("holiday.mp4").url)
    print(client.create_upload_token("avatars", metadata={"userId": "ann"}).endpoint)  # for her page
"""

from uploadkit.client.api import Client, FilePage, SignedLink, UploadedFile, UploadToken
from uploadkit.client.errors import (
    UploadKitApiError,
    UploadKitClientError,
    UploadKitConnectionError,
    UploadKitFileError,
    UploadKitStorageError,
    UploadKitWebhookError,
)
from uploadkit.client.resume import default_resume_store
from uploadkit.client.transfer import ProgressCallback
from uploadkit.client.upload import MULTIPART_OVER_BYTES
from uploadkit.client.webhooks import verify_webhook
from uploadkit.client.wire import RetryCallback

__all__ = [
    "MULTIPART_OVER_BYTES",
    "Client",
    "FilePage",
    "ProgressCallback",
    "RetryCallback",
    "SignedLink",
    "UploadKitApiError",
    "UploadKitClientError",
    "UploadKitConnectionError",
    "UploadKitFileError",
    "UploadKitStorageError",
    "UploadKitWebhookError",
    "UploadToken",
    "UploadedFile",
    "default_resume_store",
    "verify_webhook",
]
