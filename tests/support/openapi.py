"""OpenAPI documents for tests: one API described in each dialect."""

import json
from typing import Any

PETS: dict[str, Any] = {
    "/pets": {
        "get": {
            "operationId": "listPets",
            "summary": "All pets",
            "tags": ["pets"],
            "parameters": [
                {"name": "limit", "in": "query", "description": "How many", "schema": {"type": "integer"}},
            ],
            "responses": {
                "200": {
                    "description": "A page of pets",
                    "content": {
                        "application/json": {
                            "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Pet"}},
                        }
                    },
                }
            },
        },
        "post": {
            "operationId": "createPet",
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}},
            },
            "responses": {"201": {"description": "Made"}},
        },
    },
    "/pets/{pet-id}": {
        "parameters": [{"name": "pet-id", "in": "path", "required": True, "schema": {"type": "string"}}],
        "get": {"summary": "One pet", "deprecated": True, "responses": {"default": {"description": "The pet"}}},
    },
}
PET = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "description": "What it is *called*", "example": "Rex"},
        "owner": {"type": "object", "properties": {"email": {"type": "string", "format": "email"}}},
        "friends": {"type": "array", "items": {"$ref": "#/components/schemas/Pet"}},
    },
}


def openapi(version: str = "3.0.3", **parts: Any) -> dict[str, Any]:
    """A document of a pet shop."""
    return {
        "openapi": version,
        "info": {"title": "Pet shop", "version": "1.0", "description": "Sells **pets**"},
        "servers": [{"url": "https://{region}.pets.example/v1", "variables": {"region": {"default": "eu"}}}],
        "tags": [{"name": "pets", "description": "All about pets"}],
        "paths": PETS,
        "components": {"schemas": {"Pet": PET}},
        **parts,
    }


def swagger() -> dict[str, Any]:
    """The same, smaller, in Swagger 2.0."""
    return {
        "swagger": "2.0",
        "info": {"title": "Pet shop", "version": "1.0"},
        "host": "pets.example",
        "basePath": "/v1",
        "consumes": ["application/json"],
        "paths": {
            "/pets": {
                "post": {
                    "operationId": "createPet",
                    "parameters": [{"name": "pet", "in": "body", "schema": {"$ref": "#/definitions/Pet"}}],
                    "responses": {"200": {"description": "Made", "schema": {"$ref": "#/definitions/Pet"}}},
                }
            },
            "/form": {
                "post": {
                    "parameters": [{"name": "file", "in": "formData", "type": "string", "required": True}],
                    "responses": {"200": {"description": "Taken"}},
                }
            },
        },
        "definitions": {"Pet": {"type": "object", "properties": {"name": {"type": "string"}}}},
    }


def as_json(document: dict[str, Any]) -> str:
    """Its text."""
    return json.dumps(document)
