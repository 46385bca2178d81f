"""A page, and the one thing a backend has to do for it: make upload tokens. Only Python's standard library.

UPLOADKIT_API_KEY=uk_live_... python3 serve.py
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen

APPLIANCE = os.environ.get("UPLOADKIT_URL", "http://127.0.0.1:8080")
API_KEY = os.environ["UPLOADKIT_API_KEY"]
PORT = int(os.environ.get("PORT", "3000"))
PAGE = (Path(__file__).parent / "index.html").read_text().replace("http://127.0.0.1:8080", APPLIANCE)


def make_endpoint() -> str:
    """Where one file may be uploaded within the next quarter of an hour. Who may have one is for your login to decide."""
    body = json.dumps({"routeSlug": "default", "maxFiles": 1}).encode()
    headers = {"x-api-key": API_KEY, "Content-Type": "application/json"}
    with urlopen(Request(f"{APPLIANCE}/api/v1/upload-tokens", body, headers)) as answer:
        return str(json.load(answer)["endpoint"])


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer("text/html; charset=utf-8", PAGE)

    def do_POST(self) -> None:
        try:
            self.answer("text/plain", make_endpoint())
        except OSError as error:  # the appliance is away, or refuses the key
            self.answer("text/plain", f"No upload token: {error}", 502)

    def answer(self, content_type: str, text: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.end_headers()
        self.wfile.write(text.encode())


print(f"http://127.0.0.1:{PORT}", flush=True)
ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
