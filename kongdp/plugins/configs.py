"""The configuration schemas of all plugins whose settings we know, by name.

For those who write and judge configurations (control plane, command line, Admin API). Which plugins a node runs is
another question, answered by the registry: a node passes on those of these schemas whose plugins it has.
"""

from collections.abc import Mapping
from types import MappingProxyType

from kongdp.entities.schemas.plugins import PluginSchema
from kongdp.plugins.acl import config as acl
from kongdp.plugins.basic_auth import config as basic_auth
from kongdp.plugins.bot_detection import config as bot_detection
from kongdp.plugins.correlation_id import config as correlation_id
from kongdp.plugins.cors import config as cors
from kongdp.plugins.file_log import config as file_log
from kongdp.plugins.http_log import config as http_log
from kongdp.plugins.ip_restriction import config as ip_restriction
from kongdp.plugins.jwt import config as jwt
from kongdp.plugins.key_auth import config as key_auth
from kongdp.plugins.prometheus import config as prometheus
from kongdp.plugins.proxy_cache import config as proxy_cache
from kongdp.plugins.rate_limiting import config as rate_limiting
from kongdp.plugins.request_size_limiting import config as request_size_limiting
from kongdp.plugins.request_termination import config as request_termination
from kongdp.plugins.request_transformer import config as request_transformer
from kongdp.plugins.response_transformer import config as response_transformer

_MODULES = (
    acl,
    basic_auth,
    bot_detection,
    correlation_id,
    cors,
    file_log,
    http_log,
    ip_restriction,
    jwt,
    key_auth,
    prometheus,
    proxy_cache,
    rate_limiting,
    request_size_limiting,
    request_termination,
    request_transformer,
    response_transformer,
)

PLUGIN_SCHEMAS: Mapping[str, PluginSchema] = MappingProxyType(
    {module.SCHEMA.name: module.SCHEMA for module in _MODULES}
)
