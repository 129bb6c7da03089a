"""Schemas of what a control plane sends about itself: workspaces and parameters.

Source: kong/db/schema/entities/{workspaces,parameters}.lua 3.9; a recorded push of Kong 3.9.1.
"""

from kongdp.entities.field import Field
from kongdp.entities.schema import Schema
from kongdp.entities.schemas.common import entity_id, string, times, timestamp

WORKSPACES = Schema(
    name="workspaces",
    endpoint_key="name",
    workspaceable=False,
    fields=(
        entity_id(),
        ("name", string(required=True, unique=True)),
        ("comment", string()),
        *times(),
        ("meta", Field(type="record", abstract=True)),
        ("config", Field(type="record", abstract=True)),
    ),
)

PARAMETERS = Schema(
    name="parameters",
    primary_key="key",
    endpoint_key="key",
    workspaceable=False,
    fields=(
        timestamp("created_at"),
        ("key", string(required=True, unique=True, len_min=4)),
        ("value", string(required=True, len_min=4)),
    ),
)
