"""Where settings come from: defaults < file < environment < command line; text in, Settings or every problem out.

In: a path, an environment, overrides.  Out: Settings.  Raises SettingsError with all problems at once. Reads the
settings file and the certificates it names, and writes nothing.
House rule: this module knows sources and precedence; what a value may be is the kinds' business, what values must
agree on is the rules'.
Cold. Source: Kong 3.9 conf_loader (section 1 of its behaviour: precedence, comments, vault references).
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kongdp.settings import rules
from kongdp.settings.foreign import is_service_link, reason_without_effect
from kongdp.settings.kinds import NO_UNSET, Invalid
from kongdp.settings.model import KEYS, ROWS, Settings
from kongdp.settings.paths import default_prefix
from kongdp.settings.rows import OWN_PREFIX, environment_name

FILES_DEFAULT = ("/etc/kongdp/kongdp.conf", "/etc/kong/kong.conf", "/etc/kong.conf")
UNSET_WORD = "NONE"
_COMMENT = re.compile(r"\s*(?<!\\)#.*")
_REFERENCE = re.compile(r"\{vault://env/([^/{}]+)(?:/([^{}]+))?\}")
_ANY_REFERENCE = re.compile(r"\{vault://[^{}]*\}")


class SettingsError(Exception):
    """Settings that cannot be used. `problems` has one sentence for each.

    Not a KongdpError: settings stand on the lowest row beside errors, and rows do not look sideways.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(slots=True)
class _Findings:
    """What one loading collects."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)


def load_settings(path: str | None, environ: Mapping[str, str], overrides: Mapping[str, str] | None = None) -> Settings:
    """Load from the file (None: the first of FILES_DEFAULT that exists), the environment and the command line's
    overrides.
    """
    findings = _Findings()
    texts: dict[str, str] = {}
    sources = (_from_file(path, findings), _from_environment(environ, findings), dict(overrides or {}))
    for source in sources:
        texts.update(_by_name(source))
    given = tuple(texts)
    values = _values(texts, environ, findings)
    if findings.problems:
        raise SettingsError(findings.problems)
    settings = Settings(**values, given=given, references=tuple(findings.references))
    problems = rules.find_problems(settings)
    if problems:
        raise SettingsError(problems)
    warnings = (*findings.warnings, *rules.warn(settings))
    return Settings(**values, given=given, references=tuple(findings.references), warnings=warnings)


def find_prefix(path: str | None, environ: Mapping[str, str], overrides: Mapping[str, str] | None = None) -> str:
    """The prefix alone, also where other settings are wrong: enough to find a running node. Raises SettingsError."""
    findings = _Findings()
    texts: dict[str, str] = {}
    for source in (_from_file(path, findings), _from_environment(environ, findings), dict(overrides or {})):
        texts.update(_by_name(source))
    try:
        found: str = _value("prefix", texts.get("prefix", ""), default_prefix(environ))
    except Invalid as invalid:
        findings.problems.append(str(invalid))
    if findings.problems:
        raise SettingsError(findings.problems)
    return found


def _by_name(source: Mapping[str, str]) -> dict[str, str]:
    """Aliases resolved inside one source: of several keys for one setting the last alias in its declaration wins."""
    texts: dict[str, str] = {}
    for name, row in ROWS.items():
        for key in (name, *row.aliases):
            if key in source:
                texts[name] = source[key]
    return texts


def _from_file(path: str | None, findings: _Findings) -> dict[str, str]:
    place = path if path is not None else next((name for name in FILES_DEFAULT if Path(name).is_file()), None)
    if place is None:
        return {}
    try:
        content = Path(place).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        findings.problems.append(f"cannot read the settings file {place}: {reason}")
        return {}
    texts: dict[str, str] = {}
    for number, key, value in _lines(content):
        if value is None:
            findings.problems.append(f"{place} line {number}: expected `key = value`, got '{key}'")
        elif key in KEYS:
            texts[key] = value
        else:
            _note_unknown(key, f"{key} ({place} line {number})", findings)
    return texts


def _lines(content: str) -> Iterator[tuple[int, str, str | None]]:
    """(line number, key, value) of each line that is neither empty nor a comment; value None where there is no `=`."""
    for number, line in enumerate(content.splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            yield number, text, None
            continue
        yield number, key.strip().lower(), _COMMENT.sub("", value, count=1).replace("\\#", "#").strip()


def _from_environment(environ: Mapping[str, str], findings: _Findings) -> dict[str, str]:
    texts: dict[str, str] = {}
    for variable, value in environ.items():
        name = variable.lower()
        if not variable.startswith(("KONG_", "KONGDP_")):
            continue
        key = name if variable.startswith("KONGDP_") else name.removeprefix("kong_")
        is_ours = key.startswith(OWN_PREFIX)
        if key in KEYS and is_ours == variable.startswith("KONGDP_"):
            texts[key] = value.strip()
        elif not is_service_link(key, value):
            _note_unknown(key, variable, findings)
    return texts


def _note_unknown(key: str, shown: str, findings: _Findings) -> None:
    found = reason_without_effect(key)
    if found is None:
        near = difflib.get_close_matches(key, KEYS, 1, 0.8)
        written = environment_name(near[0]) if near and shown.isupper() else (near[0] if near else "")
        hint = f"; did you mean {written}?" if near else ""
        findings.warnings.append(f"unknown setting {shown} is ignored{hint}")
    elif not found[1]:
        findings.warnings.append(f"setting {shown} has no effect: {found[0]}")


def _values(texts: Mapping[str, str], environ: Mapping[str, str], findings: _Findings) -> dict[str, Any]:
    values: dict[str, Any] = {}
    vault_prefix = texts.get("vault_env_prefix", "")
    for name in ROWS:
        default = default_prefix(environ) if name == "prefix" else ROWS[name].default
        try:
            text = texts.get(name, default)
            if "{vault://" in text:
                text = _resolve(name, text, environ, vault_prefix)
                findings.references.append(name)
            values[name] = _value(name, text, default)
        except Invalid as invalid:
            findings.problems.append(str(invalid))
    return values


def _value(name: str, text: str, default: str) -> Any:
    kind = ROWS[name].kind
    if text not in ("", UNSET_WORD):
        return kind.parse(name, text)
    if kind.unset is not NO_UNSET:
        return kind.unset
    return kind.parse(name, default)


def _resolve(name: str, text: str, environ: Mapping[str, str], prefix: str) -> str:
    """`text` with each {vault://env/...} replaced; raises Invalid for what cannot be found. Names only, never values,
    in messages.
    """

    def replace(matched: re.Match[str]) -> str:
        reference = matched.group()
        parsed = _REFERENCE.fullmatch(reference)
        if parsed is None:
            raise Invalid(f"{name}: {reference} cannot be resolved: only {{vault://env/<name>[/<key>]}} is known")
        variable = (prefix + parsed[1]).upper().replace("-", "_")
        if variable not in environ:
            raise Invalid(f"{name}: {reference} cannot be resolved: the environment has no {variable}")
        if parsed[2] is None:
            return environ[variable].strip()
        return _member(name, reference, variable, environ[variable], parsed[2])

    return _ANY_REFERENCE.sub(replace, text)


def _member(name: str, reference: str, variable: str, value: str, key: str) -> str:
    try:
        content = json.loads(value)
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get(key), str | int | float):
        raise Invalid(f"{name}: {reference} cannot be resolved: {variable} is no JSON object with '{key}'")
    return str(content[key])
