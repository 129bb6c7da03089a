"""What all gateways of a run share: certificate, static upstream, WebSocket echo. They run on the load's core.

The upstream is nginx with one worker: `/1k` (990 bytes and eleven fields), `/64k`, `/1m`, `/100m` (files), `/chunked`
(64 KiB without a length), on a plain and a TLS port. Bodies of requests are read and dropped.
"""

import datetime
import os
import signal
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.whole.processes import run_pinned

FIELDS = {
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Strict-Transport-Security": "max-age=31536000",
    "ETag": '"abc123"',
    "Vary": "Accept-Encoding",
    "Set-Cookie": "id=a3fWa; Secure; HttpOnly",
}
SIZES = {"1k": 990, "64k": 64 << 10, "1m": 1 << 20, "100m": 100 << 20}


def make_certificate(directory: Path) -> tuple[Path, Path, Path]:
    """A self-signed P-256 certificate for localhost: certificate, key, both in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    paths = directory / "cert.pem", directory / "key.pem", directory / "both.pem"
    for path, content in zip(paths, (pem, key_pem, pem + key_pem), strict=True):
        path.write_bytes(content)
    return paths


def configuration(directory: Path, plain: int, tls: int, certificate: Path, key: Path) -> str:
    """The upstream's nginx.conf."""
    fields = " ".join(f"add_header {name} '{value}';" for name, value in FIELDS.items())
    return f"""
worker_processes 1; worker_rlimit_nofile 16384; pid {directory}/upstream.pid; daemon on;
error_log {directory}/upstream.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; sendfile on;
  client_body_temp_path {directory}/upstream-body; client_body_buffer_size 256k; client_max_body_size 0;
  server {{
    listen 127.0.0.1:{plain} backlog=16384; listen 127.0.0.1:{tls} ssl backlog=16384;
    ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_session_cache shared:s:10m;
    root {directory}/www; default_type application/json; {fields}
    location /items/ {{ return 200 '{"x" * SIZES["1k"]}'; }}
    location = /1k {{ return 200 '{"x" * SIZES["1k"]}'; }}
    location = /chunked {{ ssi on; ssi_types *; try_files /64k =404; }}
    error_page 405 =200 /1k;
  }}
}}
"""


class Upstream:
    """The static upstream and the WebSocket echo, until `stop`."""

    def __init__(self, directory: Path, core: int, ports: tuple[int, int, int]) -> None:
        self.plain, self.tls, self.websocket = ports
        self.certificate, self.key, self.bundle = make_certificate(directory)
        www = directory / "www"
        www.mkdir()
        for name, size in SIZES.items():
            with (www / name).open("wb") as file:
                file.write(b"x" * 65536 if size >= 65536 else b"x" * size)
                file.truncate(size)
        os.chmod(directory, 0o755)
        conf = directory / "upstream.conf"
        conf.write_text(configuration(directory, self.plain, self.tls, self.certificate, self.key))
        self._pid_file = directory / "upstream.pid"
        run_pinned(["nginx", "-c", str(conf)], {core})
        self._echo = subprocess.Popen(
            [sys.executable, "-m", "bench.whole.websocket", "serve", str(self.websocket), str(core)]
        )

    def stop(self) -> None:
        """End both."""
        self._echo.terminate()
        self._echo.wait(10)
        os.kill(int(self._pid_file.read_text()), signal.SIGTERM)
        for _ in range(100):
            if not self._pid_file.exists():
                break
            time.sleep(0.05)
