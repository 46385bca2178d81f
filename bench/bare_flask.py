"""A Flask application that does nothing, on the HTTP server of the appliance as the appliance sets it up: what is left for all else.

`python -m bench.bare_flask PORT` serves until it is ended.
"""

from __future__ import annotations

import sys
import threading

from flask import Flask, request

from uploadkit.config import ServerConfig
from uploadkit.core import cpu_affinity
from uploadkit.server.waitress_server import bound_socket, running_server

app = Flask(__name__)


@app.post("/api/v1/upload/request")
def read_and_answer() -> dict[str, object]:
    """Read the JSON body, answer with a little JSON."""
    return {"fileName": request.get_json()["fileName"]}


def main() -> None:
    """Serve until the process is ended."""
    cpu_affinity.stay()
    server = ServerConfig(port=int(sys.argv[1]))
    with bound_socket(server) as listener, running_server(app, server, listener):
        threading.Event().wait()


if __name__ == "__main__":
    main()
