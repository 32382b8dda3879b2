"""What a worker looks like from outside: answers /readyz on its port, ends on SIGTERM. Its log holds its settings."""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()


for key, value in os.environ.items():
    if key.startswith("UNMASK_"):
        print(f"{key}={value}", flush=True)
HTTPServer((os.environ["UNMASK_HTTP_HOST"], int(os.environ["UNMASK_HTTP_PORT"])), Ready).serve_forever()
