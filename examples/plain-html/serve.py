"""A page, and the one thing a backend has to do for it: make upload tokens. Only Python's standard library.

UPLOADKIT_API_KEY=uk_live_... python3 serve.py
"""

import json
import os
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

APPLIANCE = os.environ.get("UPLOADKIT_URL", "http://127.0.0.1:8080")
API_KEY = os.environ["UPLOADKIT_API_KEY"]
PORT = int(os.environ.get("PORT", "3000"))
MOST_FILES = 10_000  # with one upload token
PAGE = (Path(__file__).parent / "index.html").read_text().replace("http://127.0.0.1:8080", APPLIANCE)


def make_endpoint(files: int) -> str:
    """Where so many files may be begun within the next hour. Who may have one, for how many, is for your login to decide."""
    body = json.dumps({"routeSlug": "default", "maxFiles": files, "expiresIn": 3600}).encode()
    headers = {"x-api-key": API_KEY, "Content-Type": "application/json"}
    with urlopen(Request(f"{APPLIANCE}/api/v1/upload-tokens", body, headers)) as answer:
        return str(json.load(answer)["endpoint"])


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer("text/html; charset=utf-8", PAGE)

    def do_POST(self) -> None:
        asked = parse_qs(urlsplit(self.path).query).get("files", ["1"])[0]
        if not re.fullmatch("[0-9]{1,5}", asked) or not 1 <= int(asked) <= MOST_FILES:
            return self.answer("text/plain", f"At most {MOST_FILES} files can be uploaded at once", 400)
        try:
            self.answer("text/plain", make_endpoint(int(asked)))
        except HTTPError as error:  # too many requests: the page waits as long as the appliance says
            limited = error.code == 429
            self.answer("text/plain", "Uploading is not possible now", 429 if limited else 502, error.headers.get("Retry-After"))
        except OSError:  # the appliance is away
            self.answer("text/plain", "Uploading is not possible now", 502)

    def answer(self, content_type: str, text: str, status: int = 200, retry_after: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(text.encode())


print(f"http://127.0.0.1:{PORT}", flush=True)
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
