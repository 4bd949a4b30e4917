"""The doors of a whole server: what listens where, who is heard there, and who may read its files.

This file runs before the others: the server is as it was started.
"""

from __future__ import annotations

import ipaddress
import socket

import h2.config
import h2.connection
import h2.events
import httpx
import pytest

from cluster.ray_runtime import RayRuntime

from ..support.server import RunningServer
from .doors import doors, own_ports

SERVICES = {
    "gcs_server": ["ray.rpc.NodeInfoGcsService/GetAllNodeInfo"],
    "raylet": ["ray.rpc.NodeManagerService/GetNodeStats", "ray.rpc.ObjectManagerService/Pull"],
    "": ["ray.rpc.CoreWorkerService/GetCoreWorkerStats", "ray.rpc.CoreWorkerService/PushTask"],
}
"""What Ray's programs answer; "" are its workers: our actors and `tidelog dev` itself."""
OK, UNIMPLEMENTED, UNAUTHENTICATED = "0", "12", "16"
PATIENCE_SECONDS = 20


def grpc_status(port: int, method: str, token: str | None) -> str | None:
    """What a gRPC server says to an empty request; None when it says nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as wire:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        connection.initiate_connection()
        names = [(":method", "POST"), (":scheme", "http"), (":path", f"/{method}"), (":authority", "ray")]
        names += [("content-type", "application/grpc"), ("te", "trailers")]
        names += [("authorization", f"Bearer {token}")] if token else []
        connection.send_headers(1, names)
        connection.send_data(1, bytes(5), end_stream=True)
        wire.sendall(connection.data_to_send())
        while data := wire.recv(65_536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    said = dict(event.headers or ())
                    if "grpc-status" in said:
                        return str(said["grpc-status"])
            wire.sendall(connection.data_to_send())
    return None


def test_no_process_listens_beyond_loopback(server: RunningServer) -> None:
    found = sorted(doors(server))
    assert {port for _, _, port in found} > own_ports(server), "the sockets of all processes were seen"
    assert {program for program, _, _ in found} >= {"gcs_server", "raylet"}, "Ray's among them"
    assert not [door for door in found if not ipaddress.ip_address(door[1]).is_loopback]


def test_ray_refuses_whoever_does_not_show_its_token(server: RunningServer) -> None:
    token = (server.data.run / "ray_token").read_text()
    asked = 0
    for program, _, port in sorted(doors(server)):
        if port in own_ports(server) or program == "ray::RuntimeEnvAgent":
            continue
        methods = SERVICES.get(program, SERVICES[""])
        for shown in (None, "0" * len(token)):
            said = {grpc_status(port, method, shown) for method in methods}
            assert UNAUTHENTICATED in said and said <= {UNAUTHENTICATED, UNIMPLEMENTED}, (program, port, said)
        if program != "raylet":  # which of its two ports has which service is not known here
            assert grpc_status(port, methods[0], token) == OK, (program, "the token opens it")
        asked += 1
    assert asked >= 3 + len(server.actors())


def test_only_two_ports_answer_a_stranger(server: RunningServer) -> None:
    """API and site; everybody else closes, or asks who it is. The metrics of Ray's autoscaler are off."""
    answering = set()
    for _, _, port in doors(server):
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_SECONDS, verify=False)
        except httpx.HTTPError:
            continue
        if answer.status_code != httpx.codes.UNAUTHORIZED or port in own_ports(server):
            answering.add(port)
    assert answering == {server.port, server.site_port}


@pytest.mark.parametrize("which", ["data", "Ray's"])
def test_nobody_else_can_read_what_a_server_keeps(server: RunningServer, which: str) -> None:
    folder = server.data.path if which == "data" else RayRuntime(server.data.path).session_folder
    assert folder.stat().st_mode & 0o777 == 0o700, "nobody else may enter"
    if which == "data":
        secrets = [folder / "credentials" / "instance_secret", folder / "run" / "ray_token"]
        assert [path.stat().st_mode & 0o777 for path in secrets] == [0o600, 0o600]
