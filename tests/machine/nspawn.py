"""A Debian machine of its own: its files, its users, systemd as its first process. It shares our network."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from ..support.debian import need_program

SUITE, MIRROR = "trixie", "http://deb.debian.org/debian"
PACKAGES = "systemd,systemd-sysv,dbus,ca-certificates,sudo"
BOOT_SECONDS_MAX = 120
COMMAND_SECONDS_MAX = 900
_OWN_CERTIFICATES = Path("usr/local/share/ca-certificates")
_SHELL = [
    "env",
    "-i",
    "HOME=/root",
    "LANG=C.UTF-8",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
]


class Machine:
    """Made in `folder`, which must be a new one. `with Machine(folder) as machine`; needs root."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self._nspawn: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Machine:
        debootstrap = need_program("debootstrap", "debootstrap")
        need_program("systemd-nspawn", "systemd-container")
        options = ["--variant=minbase", f"--include={PACKAGES}"]
        subprocess.run([debootstrap, *options, SUITE, str(self.root), MIRROR], check=True)
        self._trust_what_we_trust()
        with (self.root / "etc" / "hosts").open("a") as hosts:
            hosts.write(f"127.0.0.1 localhost {Path('/etc/hostname').read_text().strip()}\n")
        try:
            self._boot()
            self.run("update-ca-certificates")
        except BaseException:
            self._power_off()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._power_off()
        shutil.rmtree(self.root)

    def run(self, command: str, user: str = "root", shows: bool = False) -> str:
        """In a shell of a new session; its output. CalledProcessError when it fails."""
        as_user = ["bash", "-ec", command] if user == "root" else ["sudo", "-u", user, "bash", "-ec", command]
        done = subprocess.run(
            [
                "nsenter",
                "-t",
                str(self._first_process()),
                "-m",
                "-u",
                "-i",
                "-p",
                "--root",
                "--wd",
                *_SHELL,
                *as_user,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
        )
        if shows or done.returncode != 0:
            print(done.stdout, flush=True)
        done.check_returncode()
        return done.stdout

    def write(self, path: str, text: str) -> None:
        target = self.root / path.removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def reboot(self) -> None:
        self._power_off()
        self._boot()

    def _boot(self) -> None:
        options = ["--boot", "--register=no", "--keep-unit", "--resolv-conf=copy-host", "--console=passive"]
        self._nspawn = subprocess.Popen(
            ["systemd-nspawn", *options, "-D", str(self.root)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self._wait_booted()

    def _power_off(self) -> None:
        """As its button does: nspawn passes that on to its systemd, which stops all services."""
        assert self._nspawn is not None
        self._nspawn.terminate()
        self._nspawn.wait(timeout=BOOT_SECONDS_MAX)

    def _wait_booted(self) -> None:
        deadline = time.monotonic() + BOOT_SECONDS_MAX
        while True:
            try:
                if self.run("systemctl is-system-running || true").strip() in ("running", "degraded"):
                    return
            except (subprocess.CalledProcessError, IndexError):
                pass  # its first process is not there yet
            assert time.monotonic() < deadline, "the machine does not boot"
            time.sleep(0.5)

    def _first_process(self) -> int:
        """Its systemd; IndexError when it has none yet."""
        assert self._nspawn is not None
        pid = self._nspawn.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])

    def _trust_what_we_trust(self) -> None:
        """Certificates of this machine's administrator: behind them packages are downloaded."""
        for certificate in ("/" / _OWN_CERTIFICATES).glob("*.crt"):
            target = self.root / _OWN_CERTIFICATES
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(certificate, target)
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        self.write("/etc/pip.conf", f"[global]\ncert = {bundle}\ntimeout = 180\n")
        self.write("/etc/npmrc", f"cafile={bundle}\n")
