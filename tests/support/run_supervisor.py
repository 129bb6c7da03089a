"""Runs one supervisor with stand-in children, for tests: arguments are a file with its environment (read again on
SIGHUP) and the children's options as JSON. Prints `ready`, and at the end the problems.
"""

import json
import logging
import sys
from pathlib import Path

from kongdp.process import logs
from kongdp.process.supervisor import Supervisor
from kongdp.settings import Settings, load_settings

CHILD = str(Path(__file__).with_name("standin_child.py"))


def main() -> int:
    environment, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(message)s")

    def read_settings() -> Settings:
        return load_settings(None, json.loads(environment.read_text()))

    def say_ready() -> None:
        print("ready", flush=True)

    def start_logging(settings: Settings) -> None:
        logs.configure_logs(settings, "supervisor")
        logs.echo_to_stderr("debug")

    commands = {role: (sys.executable, CHILD, *options.get(role, [])) for role in ("agent", "worker")}
    supervisor = Supervisor(
        read_settings(),
        read_settings=read_settings,
        on_ready=say_ready,
        on_settings=start_logging,
        commands=commands,
        cores=2,
    )
    code = supervisor.run()
    print(json.dumps(supervisor.problems), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
