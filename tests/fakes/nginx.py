"""A real nginx with the `proxy_pass` that every tutorial shows, buffering and all."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.ports import kept_port

CONF = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {http}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass {upstream}; {extra} }}
    }}
}}
"""


@contextmanager
def stock_nginx(folder: Path, upstream: str, extra: str = "", http: str = "") -> Iterator[str]:
    """Proxy ``upstream``, which may be a group that ``http`` defines; the address to ask instead of it."""
    port = kept_port()
    folder.mkdir(parents=True, exist_ok=True)
    conf = folder / "nginx.conf"
    conf.write_text(CONF.format(folder=folder, port=port, upstream=upstream, extra=extra, http=http))
    process = subprocess.Popen(["/usr/sbin/nginx", "-c", str(conf), "-e", str(folder / "start.log")])
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
