"""Settings as tests load them, and the commented file that is shipped."""

from pathlib import Path

import pytest

from kongdp.settings import Settings, SettingsError, load_settings

DB_LESS = {"KONG_DATABASE": "off"}
CONF = Path(__file__).parents[2] / "conf" / "kongdp.conf"


def load(path: Path | None = None, /, **environ: str) -> Settings:
    return load_settings(str(path) if path else None, {**DB_LESS, **environ})


def problems(path: Path | None = None, /, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(path, **environ)
    return caught.value.problems


def conf(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "kong.conf"
    path.write_text(text)
    return path
