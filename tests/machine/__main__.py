"""Follows docs/self-hosting.md on an empty Debian: `make machine`, as root.

The machine shares our network: ports 80, 443, 3210, 3211, 14000 and 15000 must be free.

Word for word: its files are written where they say, its commands run as the users it names, cron and systemd
are the machine's own. What is not of this machine is stood in for, by the machine's settings and not by other
commands: the repository's address is this checkout's last commit, the domain leads to the machine, and an
ACME server (Debian's `pebble`) is asked in the place of Let's Encrypt.

Prints what it does; the exit status tells whether all of it worked.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ..support.page import Block, sections
from ..support.server import ROOT
from .nspawn import Machine

PAGE = ROOT / "docs" / "self-hosting.md"
DOMAIN, REPOSITORY = "app.example.com", "https://example.org/tidelog.git"
CONFIG = "export TIDELOG_CONFIG=/etc/tidelog/tidelog.toml"
CRON_SECONDS_MAX = 90
READY = f"curl --silent --fail --cacert /srv/acme/root.pem https://{DOMAIN}/health/ready"
PEBBLE = """{"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
 "certificate": "/srv/acme/own.pem", "privateKey": "/srv/acme/key.pem", "httpPort": 80, "tlsPort": 443}}"""


class Walk:
    """The page, section by section, on one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._sections = {title.partition(".")[0]: blocks for title, blocks in sections(PAGE).items()}

    def install(self) -> None:
        self._commands("1", user="root")
        self._files("2")

    def start(self) -> None:
        self._files("3")
        self._commands("3")

    def open_to_the_world(self) -> None:
        self._serve_certificates()
        self._commands("4")
        self._machine.run("curl --silent --insecure https://127.0.0.1:15000/roots/0 > /srv/acme/root.pem")

    def push(self) -> None:
        """From the example app's folder, as its developer has it, who trusts the ACME server."""
        prints_key, pushes = self._of("5", "sh")
        key = self._machine.run(f"{CONFIG}\n{prints_key.text}", "tidelog").split()[-1]
        app, trusted = "/srv/tidelog/server/docs/examples/chat", "/etc/ssl/certs/ca-certificates.crt"
        self._machine.run(f"cp -r {app} /srv/app; cat {trusted} /srv/acme/root.pem > /srv/acme/all.pem")
        trusting = "cd /srv/app; export NODE_EXTRA_CA_CERTS=/srv/acme/all.pem CI=1"
        said = self._machine.run(f"{trusting}\n{pushes.text.replace('the key', key)}", shows=True)
        assert "Deployed Convex functions" in said and "Network test passed." in said
        named = '{"token": "t", "name": "Ada"}'
        options = f"--url https://{DOMAIN} --admin-key '{key}'"
        self._machine.run(f"{trusting}; npx convex run {options} users:setName '{named}'")

    def back_up(self) -> None:
        """By hand, and by cron in the next minute instead of in the next night."""
        self._commands("6", shows=True)
        self._machine.run("mv /var/lib/tidelog-backups/$(date +%F) /var/lib/tidelog-backups/by-hand")
        (file,) = self._of("6", "text")
        assert file.path is not None
        self._machine.write(file.path, file.text.replace("15 3 * * *", "* * * * *"))
        made = "ls /var/lib/tidelog-backups/$(date +%F)/log/log.sqlite3 2>/dev/null || true"
        self._wait(lambda: bool(self._machine.run(made)), "cron made no backup")
        self._files("6")

    def upgrade(self) -> None:
        self._commands("8")

    def check(self) -> None:
        """The server answers as from outside, with what was written."""
        self._wait(lambda: "true" in self._machine.run(f"{READY} || true"), "the server is not there")
        command = f"{CONFIG}\n/srv/tidelog/server/.venv/bin/tidelog log tail | cat"
        assert "users:setName" in self._machine.run(command, "tidelog")

    # --- parts ----------------------------------------------------------------------------------------

    def _of(self, section: str, language: str) -> list[Block]:
        return [block for block in self._sections[section] if block.language == language]

    def _files(self, section: str) -> None:
        for block in self._sections[section]:
            if block.path is not None:
                self._machine.write(block.path, block.text)

    def _commands(self, section: str, user: str = "tidelog", shows: bool = False) -> None:
        """A block at a time; those whose lines begin with `sudo` as root, others as the server's user."""
        for block in self._of(section, "sh"):
            print(block.text, flush=True)
            as_root = all(line.startswith("sudo") for line in block.text.splitlines())
            self._machine.run(f"{CONFIG}\n{block.text}", "root" if as_root else user, shows)

    def _serve_certificates(self) -> None:
        """An ACME server on the machine, and a certbot that asks it and no questions."""
        subject = "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
        files = "-keyout /srv/acme/key.pem -out /srv/acme/own.pem"
        self._machine.write("/srv/acme/pebble.json", PEBBLE)
        self._machine.write(
            "/etc/letsencrypt/cli.ini",
            "server = https://127.0.0.1:14000/dir\nno-verify-ssl = true\nagree-tos = true\n"
            "register-unsafely-without-email = true\nnon-interactive = true\n",
        )
        self._machine.run(
            "apt-get install --yes pebble; "
            f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 {files} {subject}; "
            "systemd-run --unit pebble --setenv=PEBBLE_VA_NOSLEEP=1 pebble -config /srv/acme/pebble.json"
        )

    @staticmethod
    def _wait(is_so: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + CRON_SECONDS_MAX
        while not is_so():
            assert time.monotonic() < deadline, otherwise
            time.sleep(1)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Machine(Path(folder) / "machine") as machine:
        with (machine.root / "etc" / "hosts").open("a") as hosts:
            hosts.write(f"127.0.0.1 {DOMAIN}\n")
        source = machine.root / "srv" / "tidelog.git"
        subprocess.run(["git", "clone", "--quiet", "--bare", str(ROOT), str(source)], check=True)
        machine.write(
            "/etc/gitconfig", f'[url "/srv/tidelog.git"]\ninsteadOf = {REPOSITORY}\n[safe]\ndirectory = *\n'
        )
        walk = Walk(machine)
        for step in (walk.install, walk.start, walk.open_to_the_world, walk.push, walk.check, walk.back_up):
            step()
        walk.upgrade()
        walk.check()
        machine.reboot()
        walk.check()
        print(
            "The page was followed to its end: installed, served, pushed to, backed up, upgraded, rebooted."
        )


if __name__ == "__main__":
    main()
