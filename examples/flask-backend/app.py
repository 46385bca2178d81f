"""A Flask backend that knows its users, vouches for them by upload token, and hears of their uploads by webhook.

UPLOADKIT_API_KEY=uk_live_... ../../.venv/bin/python app.py
"""

import math
import os
import secrets

from flask import Flask, Response, redirect, render_template, request, session

from uploadkit.client import Client, UploadKitClientError, UploadKitWebhookError, verify_webhook

MOST_FILES = 10_000  # with one upload token

app = Flask(__name__)
app.secret_key = secrets.token_bytes(32)
appliance = os.environ.get("UPLOADKIT_URL", "http://127.0.0.1:8080")
uploadkit = Client(appliance, os.environ["UPLOADKIT_API_KEY"])


@app.get("/")
def front() -> str:
    return render_template("index.html", user=session.get("user"), appliance=appliance)


@app.post("/login")
def login() -> Response:
    session["user"] = request.form["user"]  # in earnest: with a password
    return redirect("/")


@app.post("/upload-endpoint")
def upload_endpoint() -> tuple[str, int] | str:
    """Where this user may upload so many files within an hour: what their browser says can't change whose the file is."""
    if "user" not in session:
        return "Log in first", 401
    files = request.args.get("files", 1, type=int)
    if not 1 <= files <= MOST_FILES:
        return f"At most {MOST_FILES} files can be uploaded at once", 400
    return uploadkit.create_upload_token("default", metadata={"user": session["user"]}, max_files=files, expires_seconds=3600).endpoint


@app.get("/files")
def files() -> list[dict[str, str]] | tuple[str, int]:
    """What this user has uploaded. In earnest: from your own table, which the webhook fills."""
    if "user" not in session:
        return "Log in first", 401
    page = uploadkit.list(status="UPLOADED", limit=100)
    return [{"name": file.file_name, "url": file.url} for file in page.items if file.metadata.get("user") == session["user"]]


@app.post("/hooks/upload")
def uploaded() -> tuple[str, int]:
    """Give the file route this address as webhookUrl, and UPLOADKIT_WEBHOOK_SECRETS what `app.py webhooks secrets` shows."""
    try:
        event = verify_webhook(request.get_data(), request.headers, os.environ.get("UPLOADKIT_WEBHOOK_SECRETS", ""))
    except UploadKitWebhookError:
        return "", 401
    print(event["event"], event["file"]["fileName"], "of", event["file"]["metadata"].get("user"), flush=True)  # your work
    return "", 204


@app.errorhandler(UploadKitClientError)
def failed(error: UploadKitClientError) -> tuple[str, int, dict[str, str]]:
    if error.retry_after_seconds:  # too many requests, or the appliance is busy: the page waits so long
        return error.message, 429, {"Retry-After": str(math.ceil(error.retry_after_seconds))}
    return error.message, 502, {}


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "3000")))
