"""The command line: which commands there are, what they take, and which function answers.

In: arguments.  Out: an exit code: 0, or 1 after one message for each problem on stderr.  Cold. House rule: a
command's module is imported inside its function, so that `kongdp health` loads no control plane and `kongdp run` no
database library.
Source: command names and options are Kong's where Kong has the command; `control-plane`, `quickstart` and `config
template` are ours.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from kongdp.cli.console import complain

Action = Callable[[argparse.Namespace], int]
INTERRUPTED = 130  # what shells give for a program that Ctrl-C ended
QUICKSTART_PORTS = (
    ("proxy", 8000, "the data plane's proxy"),
    ("status", 8007, "the data plane's Status API"),
    ("admin", 8001, "the control plane's Admin API"),
    ("cluster", 8005, "the listener that data planes join"),
    ("telemetry", 8006, "the listener for counters"),
    ("console", 8002, "the web console"),
    ("portal", 8003, "the developer portal"),
    ("upstream", 0, "the sample upstream"),
)


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes end with exit code 1, as every other problem does."""

    def error(self, message: str) -> NoReturn:
        complain(f"{message}; see `{self.prog} --help`")
        raise SystemExit(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    action: Action | None = getattr(parsed, "action", None)
    if action is None:
        parsed.parser.print_help()
        return 0 if parsed.parser is parser and not arguments and len(sys.argv) < 2 else 1
    try:
        return action(parsed)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def build_parser() -> Parser:
    """The whole grammar."""
    parser = Parser(
        prog="kongdp",
        description="An API gateway that speaks Kong's language: data plane, control plane and console.",
        epilog="Begin with `kongdp quickstart`. `kongdp COMMAND --help` explains a command.",
    )
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    _add_node_commands(commands)
    _add_file_commands(commands)
    _add_hybrid_commands(commands)
    _add_others(commands)
    return parser


def _add(
    commands: "argparse._SubParsersAction[Parser]",
    name: str,
    action: Action | None,
    summary: str,
    example: str,
    *,
    detail: str = "",
    node: bool = False,
) -> Parser:
    """One command; `node` gives it the options that choose a node and its settings."""
    command = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.{f' {detail}' if detail else ''}",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.set_defaults(parser=command, action=action)
    command.add_argument("-v", action="count", default=0, dest="verbose", help="say more; -vv: everything")
    if node:
        command.add_argument("-p", "--prefix", metavar="PREFIX", help="directory of the node's state")
        command.add_argument("-c", "--conf", metavar="FILE", help="settings file")
    return command


def _add_node_commands(commands: "argparse._SubParsersAction[Parser]") -> None:
    run = _add(
        commands, "run", _run, "run a node in the foreground", "KONG_DATABASE=off kongdp run -p /tmp/node", node=True,
        detail="SIGTERM, SIGQUIT and Ctrl-C drain, a second one is fast.\nSIGHUP reads the settings again, SIGUSR1 reopens logs.",
    )  # fmt: skip
    run.add_argument("--notify-fd", type=int, help=argparse.SUPPRESS)
    _add(
        commands, "start", _start, "start a node in the background", "kongdp start -c /etc/kong/kong.conf -p /srv/node",
        node=True, detail="Returns when every listener accepts, or with the reason why not.",
    )  # fmt: skip
    _add(
        commands, "stop", _stop, "stop a node", "kongdp stop -p /srv/node", node=True,
        detail="Exchanges in flight may finish within kongdp_drain_timeout_s.\nReturns when every process is gone.",
    )  # fmt: skip
    quit_ = _add(
        commands, "quit", _quit, "let a node finish its exchanges and end", "kongdp quit -p /srv/node -t 60", node=True,
        detail="As stop, but nothing is forced: what has not ended in time goes on draining,\nand the exit code is 1.",
    )  # fmt: skip
    quit_.add_argument("-t", "--timeout", type=float, metavar="SECONDS", help="how long to wait for the end")
    _add(commands, "restart", _restart, "stop a node and start it again", "kongdp restart -p /srv/node", node=True)
    _add(
        commands, "reload", _reload, "let a running node read its settings again", "kongdp reload -p /srv/node",
        node=True, detail="Workers are replaced one by one, a new one being ready before the old one drains.",
    )  # fmt: skip
    _add(
        commands, "health", _health, "tell whether a node and its processes are well", "kongdp health -p /srv/node",
        node=True, detail="The exit code is 0 only when all of them serve.",
    )  # fmt: skip


def _add_file_commands(commands: "argparse._SubParsersAction[Parser]") -> None:
    check = _add(
        commands, "check", _check, "check a settings file", "kongdp check /etc/kong/kong.conf",
        detail="The environment counts too, as it does for `run`. -v shows every setting.",
    )  # fmt: skip
    check.add_argument("file", metavar="FILE", nargs="?", help="settings file; default: where `run` would look")
    config = _add(commands, "config", None, "work with declarative configurations", "kongdp config parse kong.yml")
    subcommands = config.add_subparsers(metavar="COMMAND", title="commands")
    parse = _add(
        subcommands, "parse", _config_parse, "check a declarative configuration", "kongdp config parse kong.yml",
        detail="Every problem is named with its place.",
    )  # fmt: skip
    parse.add_argument("file", metavar="FILE", help="YAML or JSON; - reads stdin")
    _add(
        subcommands, "template", _config_template, "print a settings file with every setting and its default",
        "kongdp config template > kongdp.conf",
    )  # fmt: skip
    _add_transfer_commands(subcommands)


def _add_transfer_commands(subcommands: "argparse._SubParsersAction[Parser]") -> None:
    import_ = _add(
        subcommands, "import", _config_import, "make a control plane's configuration that of a file",
        "kongdp config import kong.yml --url http://127.0.0.1:8001", detail=(
            "What the file does not hold is removed; it is one revision, which can be taken back."
            "\nKONGDP_TOKEN in the environment, or --token-file, says who asks."
        ),
    )  # fmt: skip
    import_.add_argument("file", metavar="FILE", help="YAML or JSON; - reads stdin")
    import_.add_argument("--dry-run", action="store_true", help="only say what would change")
    export = _add(
        subcommands, "export", _config_export, "print a control plane's configuration",
        "kongdp config export --url http://127.0.0.1:8001 -o kong.yml",
    )  # fmt: skip
    export.add_argument("-o", "--output", metavar="FILE", help="write to a file instead")
    export.add_argument("--json", action="store_true", help="JSON instead of YAML")
    for command in (import_, export):
        command.add_argument("--url", default="http://127.0.0.1:8001", help="the control plane's Admin API")
        command.add_argument("--group", default="default", help="name or id of the runtime group (default)")
        command.add_argument("--token-file", metavar="FILE", help="file that holds an access token")
        command.add_argument("--ca", metavar="FILE", help="certificate that the control plane's is checked with")


def _add_hybrid_commands(commands: "argparse._SubParsersAction[Parser]") -> None:
    hybrid = _add(commands, "hybrid", None, "work with certificates of hybrid mode", "kongdp hybrid gen_cert -d 365")
    subcommands = hybrid.add_subparsers(metavar="COMMAND", title="commands")
    make = _add(
        subcommands, "gen_cert", _gen_cert, "make a certificate and key that all nodes of a cluster share",
        "kongdp hybrid gen_cert cluster.crt cluster.key -d 365", detail="Existing files are never overwritten.",
    )  # fmt: skip
    make.add_argument("cert", metavar="CERT", nargs="?", help="file of the certificate (cluster.crt)")
    make.add_argument("key", metavar="KEY", nargs="?", help="file of the key (cluster.key)")
    make.add_argument("-d", "--days", type=int, default=1095, help="days it is valid (1095)")


def _add_others(commands: "argparse._SubParsersAction[Parser]") -> None:
    control_plane = _add(
        commands, "control-plane", None, "run a control plane", "kongdp control-plane run -p /srv/control-plane"
    )
    subcommands = control_plane.add_subparsers(metavar="COMMAND", title="commands")
    _add(
        subcommands, "run", _control_plane_run, "run a control plane in the foreground",
        "kongdp control-plane run -p /srv/control-plane", node=True,
        detail="Admin API, console, portal and the listener that data planes join.",
    )  # fmt: skip
    backup = _add(
        subcommands, "backup", _control_plane_backup, "write everything a control plane needs to run again to one file",
        "kongdp control-plane backup /srv/backups/monday.zip -p /srv/control-plane", node=True, detail=(
            "Takes the database (SQLite or PostgreSQL), the certificate authority and the control plane's id;"
            "\nnot the settings, and no sessions. The control plane may run meanwhile."
            "\nThe file holds private keys, credentials and password hashes: only its owner can read it."
        ),
    )  # fmt: skip
    backup.add_argument("file", metavar="FILE", help="a new file")
    restore = _add(
        subcommands, "restore", _control_plane_restore, "make a control plane what a backup says",
        "kongdp control-plane restore /srv/backups/monday.zip -p /srv/control-plane", node=True, detail=(
            "The settings say where to: a prefix and, with KONGDP_DATABASE_URL, a PostgreSQL database; a backup of"
            "\nSQLite can go there, and the other way round. Stop the control plane first."
        ),
    )  # fmt: skip
    restore.add_argument("file", metavar="FILE", help="what `control-plane backup` has written")
    restore.add_argument("--replace", action="store_true", help="also where there is a control plane already")
    quickstart = _add(
        commands, "quickstart", _quickstart, "show the whole story on this machine", "kongdp quickstart", node=True,
        detail="Starts a control plane, a data plane that joins it and a sample upstream,\nand counts one request. Ctrl-C ends it.",
    )  # fmt: skip
    quickstart.add_argument("--once", action="store_true", help="stop everything when the story is told")
    for name, port, what in QUICKSTART_PORTS:
        quickstart.add_argument(
            f"--{name}-port", type=int, metavar="PORT", help=f"port of {what} ({port or 'any'}); 0: any free one"
        )
    _add(commands, "version", _version, "print versions", "kongdp version")


def _run(arguments: argparse.Namespace) -> int:
    from kongdp.cli.run import run

    return run(arguments)


def _start(arguments: argparse.Namespace) -> int:
    from kongdp.cli.start import start

    return start(arguments)


def _stop(arguments: argparse.Namespace) -> int:
    from kongdp.cli.stop import stop

    return stop(arguments)


def _quit(arguments: argparse.Namespace) -> int:
    from kongdp.cli.stop import quit_node

    return quit_node(arguments)


def _restart(arguments: argparse.Namespace) -> int:
    from kongdp.cli.start import restart

    return restart(arguments)


def _reload(arguments: argparse.Namespace) -> int:
    from kongdp.cli.health import reload

    return reload(arguments)


def _health(arguments: argparse.Namespace) -> int:
    from kongdp.cli.health import health

    return health(arguments)


def _check(arguments: argparse.Namespace) -> int:
    from kongdp.cli.config import check

    return check(arguments)


def _config_parse(arguments: argparse.Namespace) -> int:
    from kongdp.cli.config import parse

    return parse(arguments)


def _config_import(arguments: argparse.Namespace) -> int:
    from kongdp.cli.config_transfer import import_

    return import_(arguments)


def _config_export(arguments: argparse.Namespace) -> int:
    from kongdp.cli.config_transfer import export

    return export(arguments)


def _config_template(arguments: argparse.Namespace) -> int:
    from kongdp.cli.config import template

    return template(arguments)


def _gen_cert(arguments: argparse.Namespace) -> int:
    from kongdp.cli.hybrid import gen_cert

    return gen_cert(arguments)


def _control_plane_run(arguments: argparse.Namespace) -> int:
    from kongdp.cli.run import run_control_plane

    return run_control_plane(arguments)


def _control_plane_backup(arguments: argparse.Namespace) -> int:
    from kongdp.cli.backup import backup

    return backup(arguments)


def _control_plane_restore(arguments: argparse.Namespace) -> int:
    from kongdp.cli.backup import restore

    return restore(arguments)


def _quickstart(arguments: argparse.Namespace) -> int:
    from kongdp.cli.quickstart import run

    return run(arguments)


def _version(arguments: argparse.Namespace) -> int:
    from kongdp.cli.version import version

    return version(arguments)
