"""Beanstalk's nginx with our file in it, before the service as the template sets it."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from tests.aws.templates import BEANSTALK, ENVIRONMENT, options, resolve, server_environment
from tests.conftest import (
    REPOSITORY,
    Server,
    StartServer,
    encode,
    free_port,
    gunicorn,
    noise,
    wait_until_ready,
)

NGINX: Final = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/bin:/usr/bin")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="there is no nginx here: apt install nginx"),
]


@pytest.fixture(scope="module")
def behind(start_server: StartServer) -> Iterator[Server]:
    """Serve as in the environment, but that an upload may take two seconds."""
    settings = server_environment(resolve(BEANSTALK))
    with start_server(command=gunicorn, **{**settings, "ANTBEE_TIMEOUT": "2"}) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(behind: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run nginx before it, with the source bundle's folder and Beanstalk's upstream."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    shutil.copytree(REPOSITORY / "aws/beanstalk/.platform/nginx", folder, dirs_exist_ok=True)
    host = behind.url.removeprefix("http://")
    upstream = folder / "conf.d/elasticbeanstalk-nginx-docker-upstream.conf"
    upstream.write_text(f"upstream docker {{ server {host}; keepalive 256; }}\n")
    base = (REPOSITORY / "aws/nginx.conf").read_text()
    (folder / "nginx.conf").write_text(base.replace("PORT", str(port)))
    log = folder / "log"
    # Started by root, it would work as a user who may not write into the folder.
    root = ["-g", "user root;"] if os.geteuid() == 0 else []
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(NGINX), "-p", folder, "-c", folder / "nginx.conf", *root],
            stdout=output,
            stderr=output,
        )
    running = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        wait_until_ready(running)
        yield running
    finally:
        process.terminate()
        process.wait(30)
    assert log.read_text() == "", "nginx has something to complain about"


def test_picture_passes(proxy: Server, behind: Server) -> None:
    """A picture of 5 MB, five times what nginx takes by itself, is answered as without nginx."""
    picture = encode(noise(1300, 1300), "BMP")
    answer = proxy.predict(picture, "image/bmp")

    assert len(picture) > 5_000_000
    assert answer.status_code == httpx.codes.OK, answer.text
    assert answer.content == behind.predict(picture, "image/bmp").content


@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_a_body_is_refused_by_the_service(proxy: Server, *, chunked: bool) -> None:
    """A body of 11 MB gets the service's words, not nginx's page, however it comes."""
    body = bytes(11_000_000)
    content = iter([body]) if chunked else body
    answer = httpx.post(f"{proxy.url}/predict", content=content, timeout=30, verify=False)  # noqa: S501 - http

    assert answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE
    assert answer.json()["error"]["code"] == "body_too_large"


def test_slow_upload_is_ended_by_the_service(proxy: Server) -> None:
    """An upload that takes too long gets the service's words as well; nginx hands it on."""
    with socket.create_connection(("127.0.0.1", int(proxy.url.rpartition(":")[2]))) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nBM")
        client.settimeout(20)
        answer = client.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 504 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "timeout"


def test_connections_are_kept(proxy: Server, jpeg: bytes) -> None:
    """Requests after one another go over one connection, though nginx offers to upgrade each."""
    with httpx.Client(base_url=proxy.url, verify=False) as client:  # noqa: S501 - http
        answers = [client.post("/predict", content=jpeg) for _ in range(3)]
    streams = [answer.extensions["network_stream"] for answer in answers]

    assert [answer.status_code for answer in answers] == [httpx.codes.OK] * 3
    assert len({id(stream) for stream in streams}) == 1


def test_address_is_the_client_s(proxy: Server, behind: Server, jpeg: bytes) -> None:
    """What is logged is the address before the load balancer's, not what a client claims."""
    claimed, client, balancer = "198.51.100.1", "203.0.113.9", "10.0.0.7"
    came = {"X-Forwarded-For": f"{claimed}, {client}, {balancer}", "X-Request-ID": "whose"}
    proxy.predict(jpeg, **came)

    assert json.loads(behind.logged('"whose"'))["client"] == client


def test_time_outs_follow_each_other() -> None:
    """Service, nginx, load balancer: whoever is nearer to the model gives up first."""
    conf = (REPOSITORY / "aws/beanstalk/.platform/nginx/conf.d/antbee.conf").read_text()
    beanstalk = options(resolve(BEANSTALK))
    nginx = {float(one) for one in re.findall(r"proxy_(?:read|send)_timeout (\d+)s;", conf)}
    service = float(beanstalk[ENVIRONMENT, "ANTBEE_TIMEOUT"])
    balancer = float(beanstalk["aws:elbv2:loadbalancer", "IdleTimeout"])
    kept = re.search(r"keepalive_timeout (\d+);", (REPOSITORY / "aws/nginx.conf").read_text())

    assert service < min(nginx) <= max(nginx) < balancer
    assert service < float(
        beanstalk["aws:elasticbeanstalk:environment:process:default", "DeregistrationDelay"]
    )
    assert kept is not None
    assert balancer < float(kept[1]), "the load balancer would use a connection that nginx closes"
