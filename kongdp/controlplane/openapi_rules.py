"""What OpenAPI itself demands of a document: structure and rules of each dialect, by openapi-spec-validator.

In: a document within openapi_text's bounds, and its dialect.  Out: each reason why it is not valid.
House rule: no regular expression of the document is run, nothing is fetched, and schemas are checked one by one.
Cold; loaded with the first document that is judged, as its libraries take longer to load than many a command takes.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

# Where jsonschema-rs happens to be installed the validator would use it: its errors cannot be asked for the innermost one.
os.environ["OPENAPI_SPEC_VALIDATOR_SCHEMA_VALIDATOR_BACKEND"] = "jsonschema"

from jsonschema import FormatChecker
from jsonschema.exceptions import ValidationError, best_match
from jsonschema_path import SchemaPath
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV30SpecValidator, OpenAPIV31SpecValidator
from openapi_spec_validator.validation import keywords


def reasons(dialect: str, value: Mapping[str, Any]) -> Iterator[str]:
    """Why a document is not valid: where and what, of the innermost problem each. `dialect` is one of DIALECTS."""
    for error in _problems(value, DIALECTS[dialect]):
        inner = best_match([error]) or error
        place = "".join(f"/{part}" for part in inner.absolute_path)
        yield f"{place}: {inner.message}" if place else str(inner.message)


def _problems(value: Mapping[str, Any], validator: type[Any]) -> Iterator[ValidationError]:
    """What the library finds. Its own `iter_errors` would keep every document for ever in a cache."""
    judge = validator(SchemaPath.from_dict(value, handlers={}))
    wrong = False
    for error in judge.schema_validator.iter_errors(value):
        wrong = True
        yield error
    if not wrong:
        yield from judge.root_validator(judge.schema_path)


class _Accepting(keywords.KeywordValidator):
    """In place of checks that run a document's regular expressions or follow its references without end."""

    def __call__(self, *_arguments: Any, **_options: Any) -> Iterator[ValidationError]:
        """No objection."""
        return iter(())


class _SchemaAlone(keywords.OpenAPIV31SchemaValidator):
    """A schema object against its meta-schema, by itself: 3.1's structure check does not look into schemas."""

    def __call__(
        self, schema: SchemaPath, require_properties: bool = True, meta_checked: bool = False
    ) -> Iterator[ValidationError]:
        """At most one objection, once for each schema."""
        value = schema.read_value()
        assert self.meta_checked_schema_ids is not None
        if id(value) not in self.meta_checked_schema_ids:
            self.meta_checked_schema_ids.append(id(value))
            error = self._validate_schema_meta(schema, value)
            if error is not None:
                error.relative_path.extendleft(reversed(schema.parts))
                yield error

    def _get_schema_checker(self, schema: SchemaPath, schema_value: Any) -> Callable[[Any], None]:
        checker = super()._get_schema_checker(schema, schema_value)
        # The format "regex" would compile patterns of the document, by Python's rules instead of JavaScript's.
        return partial(checker.func, format_checker=FormatChecker(()))  # type: ignore[attr-defined]


def _limited(validator: type[Any], schema: type[keywords.KeywordValidator]) -> dict[str, Any]:
    return {**validator.keyword_validators, "schema": schema, "default": _Accepting}


class _Swagger(OpenAPIV2SpecValidator):
    keyword_validators = _limited(OpenAPIV2SpecValidator, _Accepting)


class _OpenApi30(OpenAPIV30SpecValidator):
    keyword_validators = _limited(OpenAPIV30SpecValidator, _Accepting)


class _OpenApi31(OpenAPIV31SpecValidator):
    keyword_validators = _limited(OpenAPIV31SpecValidator, _SchemaAlone)


DIALECTS: dict[str, type[Any]] = {"Swagger 2.0": _Swagger, "OpenAPI 3.0": _OpenApi30, "OpenAPI 3.1": _OpenApi31}
