"""The grammar of the command line, and the commands that need no node."""

import argparse
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

import kongdp
from kongdp import compiled
from kongdp.cli.main import build_parser, main
from kongdp.settings.pem import check_pair


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of the machine, and a place to write in."""
    for name in tuple(os.environ):
        if name.startswith(("KONG_", "KONGDP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KONG_DATABASE", "off")
    monkeypatch.setenv("KONG_PREFIX", str(tmp_path / "prefix"))
    monkeypatch.chdir(tmp_path)


def every_command(
    parser: argparse.ArgumentParser, *path: str
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield (*path, name), command
                yield from every_command(command, *path, name)


COMMANDS = dict(every_command(build_parser()))


def test_the_documented_commands_exist() -> None:
    """Stable from the first release on."""
    assert {" ".join(path) for path in COMMANDS} == {
        "run", "start", "stop", "quit", "restart", "reload", "health", "check", "config", "config parse",
        "config template", "config import", "config export",
        "hybrid", "hybrid gen_cert", "control-plane", "control-plane run", "control-plane backup", "control-plane restore",
        "quickstart", "version",
    }  # fmt: skip


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """--help ends with 0 and shows how the command is typed; -v is everywhere."""
    with pytest.raises(SystemExit) as caught:
        main([*path, "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "example:\n  " in shown
    assert "kongdp " in shown.partition("example:")[2]
    assert "-v" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], "invalid choice: 'fly'"),
        (["config", "parse"], "required: FILE"),
        (["start", "--fast"], "unrecognized arguments: --fast"),
        (["hybrid", "gen_cert", "-d", "soon"], "invalid int value: 'soon'"),
    ],
)
def test_a_mistake_ends_with_one_line_and_1(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not with argparse's 2 and a page of usage."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("kongdp: ")
    assert words in line


def test_a_group_without_a_command_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    """And 1, because nothing was done."""
    assert main(["hybrid"]) == 1
    assert "gen_cert" in capsys.readouterr().out


def test_version_says_what_a_bug_report_needs(capsys: pytest.CaptureFixture[str]) -> None:
    """Ours, Kong's, Python's, and which modules are compiled."""
    assert main(["version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"kongdp {kongdp.__version__}"
    assert lines[1] == "compatible with Kong 3.9.1"
    assert lines[2].startswith("Python 3.")
    if compiled.why_not:
        assert lines[3] == f"request path plain Python, slower: {compiled.why_not}"
    else:
        assert lines[3].startswith("request path compiled: ")
        assert "proxy.exchange" in lines[3]


def test_python_m_kongdp_is_the_same_program() -> None:
    """For who has no script on the path."""
    shown = subprocess.run([sys.executable, "-m", "kongdp", "version"], capture_output=True, check=True, text=True)
    assert shown.stdout.startswith(f"kongdp {kongdp.__version__}\n")


@pytest.mark.parametrize("command", ["health", "stop", "version"])
def test_small_commands_load_no_machinery(command: str) -> None:
    """Roles are imported inside functions: neither libraries of the control plane nor an event loop for a question."""
    code = (
        "import sys; from kongdp.cli.main import main; main(sys.argv[1:]); "
        "print([n for n in ('asyncio', 'sqlalchemy', 'uvloop', 'cryptography', 'starlette') if n in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code, command], capture_output=True, check=True, text=True)
    assert shown.stdout.splitlines()[-1] == "[]"


# -- check and config


def test_check_names_every_problem_on_its_own_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, exit code 1."""
    path = tmp_path / "kong.conf"
    path.write_text("log_level = loud\nproxy_listen = here\ndns_cache_size = many\n")
    assert main(["check", str(path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["proxy_listen", "log_level", "dns_cache_size"]


def test_check_names_what_a_node_would_not_start_with(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that stands for nothing, a log format nobody declared: the node refuses both when it starts."""
    monkeypatch.setenv("KONG_DATABASE", "off")
    monkeypatch.setenv("KONG_PLUGINS", "bundled,foo")
    monkeypatch.setenv("KONG_PROXY_ACCESS_LOG", "/dev/stdout foo")
    assert main(["check"]) == 1
    shown = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in shown] == ["plugins", "proxy_access_log"]


def test_check_shows_warnings_and_settings_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Valid, with what is odd; -v lists all, marking what was given."""
    path = tmp_path / "kong.conf"
    path.write_text("log_levl = warn\ndns_cache_size = 5\n")
    monkeypatch.setenv("KONGDP_ENROLL_TOKEN", "do-not-show")
    assert main(["check", str(path), "-v"]) == 0
    shown = capsys.readouterr()
    assert "did you mean log_level?" in shown.err
    assert "* dns_cache_size = 5" in shown.out
    assert "  dns_error_ttl = 1.0" in shown.out
    assert "do-not-show" not in shown.out + shown.err
    assert shown.out.splitlines()[-1] == f"the settings of {path} are valid"


def test_the_template_is_a_valid_settings_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What `config template` prints, `check` takes."""
    assert main(["config", "template"]) == 0
    path = tmp_path / "kongdp.conf"
    path.write_text(capsys.readouterr().out)
    assert main(["check", str(path)]) == 0


def test_config_parse_counts_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good file."""
    path = tmp_path / "kong.yml"
    path.write_text(
        '_format_version: "3.0"\nservices:\n- name: s\n  url: http://example.com\n  routes:\n  - name: r\n    paths: [/r]\n'
    )
    assert main(["config", "parse", str(path)]) == 0
    assert capsys.readouterr().out == "parse successful: 1 services, 1 routes\n"


def test_config_parse_names_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both wrong fields, with their places."""
    path = tmp_path / "kong.yml"
    path.write_text('_format_version: "3.0"\nservices:\n- name: s\n  host: example.com\n  port: seven\n  retries: -1\n')
    assert main(["config", "parse", str(path)]) == 1
    shown = capsys.readouterr().err
    assert "in 'port': expected an integer (line 5)" in shown
    assert "in 'retries': value should be between 0 and 32767 (line 6)" in shown
    assert all(line.startswith("kongdp: ") for line in shown.splitlines())


def test_config_parse_knows_the_router_flavor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expressions are judged where they are the flavor."""
    path = tmp_path / "kong.yml"
    monkeypatch.setenv("KONG_ROUTER_FLAVOR", "expressions")
    path.write_text("_format_version: '3.0'\nroutes:\n- expression: http.path == \"/a\"\n")
    assert main(["config", "parse", str(path)]) == 0
    path.write_text("_format_version: '3.0'\nroutes:\n- expression: http.path ==\n")
    assert main(["config", "parse", str(path)]) == 1
    assert "Router Expression failed validation" in capsys.readouterr().err


def test_config_parse_knows_the_plugins_of_a_node(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that no node here runs is refused, and one whose configuration is wrong, each with its line."""
    path = tmp_path / "kong.yml"
    path.write_text(
        "_format_version: '3.0'\nplugins:\n- name: openid-connect\n- name: key-auth\n  config:\n    key_names: x\n"
    )
    assert main(["config", "parse", str(path)]) == 1
    shown = capsys.readouterr().err
    assert (
        "in 'name': plugin 'openid-connect' not enabled; add it to the 'plugins' configuration property (line 3)"
        in shown
    )
    assert "in 'key_names': expected an array (line 6)" in shown
    monkeypatch.setenv("KONG_PLUGINS", "cors")
    assert main(["config", "parse", str(path)]) == 1
    assert "plugin 'key-auth' not enabled" in capsys.readouterr().err


def test_config_parse_says_where_a_record_in_a_list_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A list of records that are no entities: field and line, as for entities."""
    path = tmp_path / "kong.yml"
    path.write_text(
        "_format_version: '3.0'\nroutes:\n- protocols: [tcp]\n  sources:\n  - ip: 1.2.3.4\n  - ip: 1.2.3.4\n    port: 70000\n"
    )
    assert main(["config", "parse", str(path)]) == 1
    assert "in 'port': value should be between 0 and 65535 (line 7)" in capsys.readouterr().err


def test_config_parse_says_where_the_syntax_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken YAML: the line; a missing file: its name."""
    path = tmp_path / "kong.yml"
    path.write_text('_format_version: "3.0"\nservices: [\n')
    assert main(["config", "parse", str(path)]) == 1
    assert capsys.readouterr().err.endswith("at line 3 column 1\n")
    assert main(["config", "parse", "none.yml"]) == 1
    assert capsys.readouterr().err == "kongdp: cannot read none.yml: No such file or directory\n"


# -- hybrid gen_cert


def test_gen_cert_makes_a_pair_that_both_sides_of_tls_take(tmp_path: Path) -> None:
    """EC P-384, kong_clustering, version 3, both usages, CA, the key for the owner only; strict verification
    included.
    """
    assert main(["hybrid", "gen_cert", "-d", "30"]) == 0
    certificate_path, key_path = tmp_path / "cluster.crt", tmp_path / "cluster.key"
    assert key_path.stat().st_mode & 0o777 == 0o600
    assert certificate_path.stat().st_mode & 0o777 == 0o644
    certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
    assert certificate.version is x509.Version.v3
    assert certificate.subject == certificate.issuer
    assert certificate.subject.rfc4514_string() == "CN=kong_clustering"
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp384r1"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["kong_clustering"]
    assert set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < left <= timedelta(days=30)
    assert check_pair("c", certificate_path.read_text(), "k", key_path.read_text()) is None
    shake_hands(certificate_path, key_path)


def shake_hands(certificate: Path, key: Path) -> None:
    """A mutual TLS handshake in memory, as both planes do it with a shared pair."""
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    client_context = ssl.create_default_context(cafile=str(certificate))
    for context in (server_context, client_context):
        context.load_cert_chain(certificate, key)
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname="kong_clustering")
    waiting = [client, server]
    while waiting:
        for side in tuple(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                pass
    assert server.getpeercert() == client.getpeercert()


def test_gen_cert_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every file in the way is named, and neither is written."""
    (tmp_path / "a.key").write_text("precious")
    assert main(["hybrid", "gen_cert", "a.crt", "a.key"]) == 1
    assert capsys.readouterr().err == "kongdp: a.key already exists and is not overwritten\n"
    assert not (tmp_path / "a.crt").exists()
    assert (tmp_path / "a.key").read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["only.crt"], "give both"),
        (["-d", "0"], "-d must be between 1 and 36500"),
        (["no/a.crt", "no/a.key"], "cannot write no/a.key: No such file or directory"),
    ],
)
def test_gen_cert_explains_what_it_cannot_do(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line."""
    assert main(["hybrid", "gen_cert", *arguments]) == 1
    assert words in capsys.readouterr().err


# -- roles


def test_a_traditional_node_with_a_database_is_shown_the_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """run and start refuse alike."""
    monkeypatch.delenv("KONG_DATABASE")
    for command in ("run", "start", "restart"):
        assert main([command]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "kongdp control-plane run" in line


def test_start_leaves_the_control_plane_to_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stays in the foreground."""
    monkeypatch.delenv("KONG_DATABASE")
    monkeypatch.setenv("KONG_ROLE", "control_plane")
    assert main(["start"]) == 1
    assert capsys.readouterr().err == "kongdp: role = control_plane: start it with `kongdp control-plane run`\n"


@pytest.mark.parametrize("command", [["control-plane", "run"], ["run"]])
def test_the_control_plane_gets_its_settings(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its role is forced by its own command and obeyed by `run`; its exit code is ours."""
    import kongdp.controlplane.server as server

    monkeypatch.delenv("KONG_DATABASE")
    if command == ["run"]:
        monkeypatch.setenv("KONG_ROLE", "control_plane")
    seen = []
    monkeypatch.setattr(server, "run", lambda settings, on_ready: seen.append(settings) or 7)
    assert main([*command, "-p", "here"]) == 7
    assert seen[0].role == "control_plane"
    assert seen[0].prefix == str(Path("here").absolute())


@pytest.mark.parametrize("command", ["health", "stop", "quit", "reload"])
def test_commands_for_a_running_node_say_when_there_is_none(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the settings are wrong otherwise."""
    os.environ["KONG_LOG_LEVEL"] = "loud"
    try:
        assert main([command]) == 1
    finally:
        del os.environ["KONG_LOG_LEVEL"]
    assert capsys.readouterr().err == f"kongdp: no node is running in {tmp_path / 'prefix'}\n"
