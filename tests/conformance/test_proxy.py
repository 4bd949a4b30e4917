"""The documented proxy in front of a real server: TLS, one domain, sockets, and a prefix."""

from __future__ import annotations

import datetime
import os
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..support.debian import need_program
from ..support.server import ROOT, RunningServer, free_port

pytestmark = pytest.mark.usefixtures("app")

EXAMPLE = ROOT / "docs" / "examples" / "proxy" / "nginx.conf"
READY_SECONDS_MAX = 20
PREFIX = """
    location /behind/ {
        proxy_pass http://127.0.0.1:3210/;
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
    }
"""


@dataclass
class Proxy:
    url: str
    plain_url: str
    certificate: Path


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """For localhost, signed by itself: (certificate, key)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


def configuration(server: RunningServer, folder: Path, port: int, plain_port: int) -> str:
    """The example, with its name, ports and paths changed as its first lines say, inside a whole nginx."""
    certificate, key = write_certificate(folder)
    text = EXAMPLE.read_text()
    for old, new in (
        ("    listen 443 ssl;\n    listen [::]:443 ssl;", f"    listen 127.0.0.1:{port} ssl;"),
        ("    listen 80;\n    listen [::]:80;", f"    listen 127.0.0.1:{plain_port};"),
        ("server_name app.example.com;", "server_name localhost;"),
        ("/etc/letsencrypt/live/app.example.com/fullchain.pem", str(certificate)),
        ("/etc/letsencrypt/live/app.example.com/privkey.pem", str(key)),
        ("    location / {", f"{PREFIX}\n    location / {{"),
        ("127.0.0.1:3210", f"127.0.0.1:{server.port}"),
    ):
        assert old in text, f"the example lacks {old!r}"
        text = text.replace(old, new)
    paths = [f"{kind}_temp_path {folder}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi")]
    http = "\n".join([f"client_body_temp_path {folder}/body;", *paths, "access_log off;", text])
    return f"daemon off;\npid {folder}/pid;\nerror_log {folder}/errors;\nevents {{}}\nhttp {{\n{http}\n}}\n"


@pytest.fixture(scope="module")
def proxy(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    nginx = need_program("nginx", "nginx-light")
    folder, port, plain_port = tmp_path_factory.mktemp("proxy"), free_port(), free_port()
    path = folder / "nginx.conf"
    path.write_text(configuration(server, folder, port, plain_port))
    process = subprocess.Popen([nginx, "-c", str(path), "-p", str(folder)], stderr=subprocess.PIPE, text=True)
    urls = f"https://localhost:{port}", f"http://localhost:{plain_port}"
    running = Proxy(*urls, folder / "certificate.pem")
    deadline = time.monotonic() + READY_SECONDS_MAX
    try:
        while not is_ready(running):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline, "the proxy does not answer"
            time.sleep(0.05)
        yield running
    finally:
        process.terminate()
        process.communicate()


def trusting(proxy: Proxy) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=proxy.certificate)


def is_ready(proxy: Proxy) -> bool:
    try:
        return httpx.get(f"{proxy.url}/version", verify=trusting(proxy)).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("prefix", ["", "/behind"])
def test_every_client_works_through_the_documented_proxy(
    server: RunningServer, proxy: Proxy, prefix: str
) -> None:
    script, trusted = Path(__file__).parent / "proxied.mjs", {"NODE_EXTRA_CA_CERTS": str(proxy.certificate)}
    seen = dict(server.node(script, f"{proxy.url}{prefix}", more=trusted))
    expected = {"first": 0, "live": 1, "over http": 1, "http action": True, "streamed": "one two three"}
    assert seen == expected


def test_without_tls_the_proxy_sends_on_as_the_network_test_of_the_cli_expects(proxy: Proxy) -> None:
    answer = httpx.get(f"{proxy.plain_url}/instance_name")
    assert answer.status_code == 301, "the CLI fails at every other redirect"
    assert answer.headers["location"] == "https://localhost/instance_name"


def test_a_large_upload_streams_through_the_proxy(proxy: Proxy) -> None:
    body = os.urandom(3 << 20)
    answer = httpx.post(f"{proxy.url}/echo", content=body, verify=trusting(proxy), timeout=60)
    assert answer.content == body


def test_functions_are_told_the_address_of_the_client_and_not_of_the_proxy(proxy: Proxy) -> None:
    elsewhere = httpx.HTTPTransport(verify=trusting(proxy), local_address="127.0.0.2")
    headers = {"user-agent": "a browser", "x-forwarded-for": "203.0.113.7"}
    with httpx.Client(transport=elsewhere, timeout=30) as client:
        asked = {"path": "tools:requester", "args": {}}
        answer = client.post(f"{proxy.url}/api/action", json=asked, headers=headers).json()
    expected = {"ip": "127.0.0.2", "userAgent": "a browser"}
    assert answer["value"] == [expected, expected], "what the client says of its address is not believed"
