"""Declarative configurations to load: one that uses everything, the recorded push, and large ones."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.certificates import authority, make

RECORDED_PUSH = Path(__file__).parents[1] / "conformance" / "data" / "reconfigure-3.9.1.json"


@cache
def pems() -> dict[str, str]:
    """PEM texts: an EC pair, an RSA pair, an authority."""
    elliptic, root = make("a.test"), authority()
    other = make("b.test", key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    return {
        "cert": elliptic.pem.decode(),
        "key": elliptic.key_pem.decode(),
        "cert_alt": other.pem.decode(),
        "key_alt": other.key_pem.decode(),
        "authority": root.pem.decode(),
    }


def rich_configuration() -> dict[str, Any]:
    """One entity at least of every collection, nested and flat, by name and by id."""
    pem = pems()
    return {
        "_format_version": "3.0",
        "_comment": "everything",
        "_info": {"select_tags": ["a"], "defaults": {"route": {"preserve_host": True}}},
        "_plugin_configs": {"shared": {"key_names": ["x-key"]}},
        "services": [
            {
                "name": "orders",
                "url": "https://orders.test/v1",
                "client_certificate": "11111111-1111-4111-8111-111111111111",
                "tags": ["team-a"],
                "routes": [
                    {
                        "name": "orders-read",
                        "paths": ["/orders", r"~/orders/(?<id>\d+)$"],
                        "methods": ["GET"],
                        "hosts": ["*.example.com"],
                        "headers": {"x-version": ["v1", "v2"]},
                        "plugins": [{"name": "rate-limiting", "config": {"minute": 5, "redis_port": 1234}}],
                    },
                    {"protocols": ["tcp"], "sources": [{"ip": "10.0.0.0/8"}], "destinations": [{"port": 5}]},
                ],
                "plugins": [{"name": "key-auth", "_config": "shared"}],
            },
            {"name": "plain", "host": "up.internal", "_ignore": [1]},
        ],
        "routes": [{"name": "flat", "service": "plain", "paths": ["/flat"], "protocols": ["grpc"]}],
        "consumers": [
            {
                "username": "bob",
                "custom_id": "42",
                "keyauth_credentials": [{"key": "secret", "ttl": 60}],
                "basicauth_credentials": [{"username": "bob", "password": "pw"}],
                "jwt_secrets": [{"key": "iss", "secret": "s"}],
                "acls": [{"group": "admins"}],
                "hmacauth_credentials": [{"username": "bob", "secret": "s"}],
                "plugins": [{"name": "rate-limiting", "config": {"second": 1}}],
            }
        ],
        "upstreams": [
            {
                "name": "up.internal",
                "algorithm": "consistent-hashing",
                "hash_on": "header",
                "hash_on_header": "x-user",
                "healthchecks": {"active": {"http_path": "/healthz", "healthy": {"interval": 5}}},
                "targets": [{"target": "10.0.0.1"}, {"target": "h.test:81", "weight": 50}],
            }
        ],
        "certificates": [
            {
                "id": "11111111-1111-4111-8111-111111111111",
                "cert": pem["cert"],
                "key": pem["key"],
                "cert_alt": pem["cert_alt"],
                "key_alt": pem["key_alt"],
                "snis": [{"name": "*.example.com"}],
            }
        ],
        "snis": [{"name": "b.test", "certificate": {"id": "11111111-1111-4111-8111-111111111111"}}],
        "ca_certificates": [{"cert": pem["authority"]}],
        "plugins": [
            {"name": "prometheus", "config": {"per_consumer": True}},
            {"name": "acl", "route": "flat", "config": {"allow": ["admins"]}},
        ],
        "key_sets": [{"name": "set", "keys": [{"name": "k", "kid": "1", "jwk": '{"kid":"1","kty":"oct"}'}]}],
        "vaults": [{"prefix": "my-env", "name": "env", "config": {"prefix": "SECRET_"}}],
        "parameters": [{"key": "cluster_id", "value": "8e1f7c52-2f6d-4a7b-9d0e-5b6a1c3d4e5f"}],
    }


def recorded_push() -> dict[str, Any]:
    """What a Kong 3.9.1 control plane sent, with certificates in place of the removed ones."""
    message: dict[str, Any] = json.loads(RECORDED_PUSH.read_text())
    for certificate in message["config_table"]["certificates"]:
        certificate["cert"], certificate["key"] = pems()["cert"], pems()["key"]
    return message


def large_configuration(count: int) -> dict[str, Any]:
    """`count` services with a route each, in the form of the hybrid wire."""
    service = {
        "name": "",
        "host": "h.test",
        "port": 80,
        "protocol": "http",
        "path": None,
        "retries": 5,
        "connect_timeout": 60000,
        "write_timeout": 60000,
        "read_timeout": 60000,
        "created_at": 1,
        "updated_at": 1,
    }
    route = {"paths": [], "protocols": ["http", "https"], "strip_path": True, "created_at": 1, "updated_at": 1}
    ids = [f"00000000-0000-4000-8000-{number:012d}" for number in range(count)]
    return {
        "_format_version": "3.0",
        "_transform": False,
        "services": [{**service, "id": id, "name": f"s{number}"} for number, id in enumerate(ids)],
        "routes": [
            {**copy.deepcopy(route), "id": id, "name": f"r{number}", "service": id, "paths": [f"/r/{number}"]}
            for number, id in enumerate(ids)
        ],
    }
