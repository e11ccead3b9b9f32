"""Programs of packages that cannot be installed beside Postfix and Dovecot, run in namespaces of their own.

They are unpacked (scripts/unpack-stacks) and laid over /usr, and a folder of the test's own over /etc, in a mount namespace with a
/run of its own: the machine sees nothing of them but ports on loopback. In the process namespace the script is the first process:
when it is ended, by its id, the kernel ends all the others, however they have detached themselves.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent / ".stacks"
_SECONDS = 20.0
# -m: a process group each. saslauthd that is ended signals its whole group.
_LAY = r"""set -em
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$ROOT/usr:/usr" /usr
mount -t overlay overlay -o "lowerdir=$HERE/etc:/etc" /etc
mount -t tmpfs tmpfs /run
"""


def why_not(name: str, missing: str) -> str | None:
    """Why what lies in .stacks/NAME cannot be started here, as a skip's reason; None where it can. `missing`: the reason where
    it is not there."""
    if not (ROOT / name).exists():
        return missing
    usr = f"mount -t overlay overlay -o 'lowerdir={ROOT}/{name}/usr:/usr' /usr"
    lay = f"mount --make-rprivate / && {usr} && mount -t tmpfs tmpfs /run"
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "sh", "-c", lay], capture_output=True, text=True)
    return f"this kernel lets nobody make namespaces: {tried.stderr.strip()}" if tried.returncode else None


class Apart:
    """What is unpacked in .stacks/NAME, started by a shell script that ends in `wait`.

    `here` is the folder for its files, $HERE in the script; `here`/etc lies over /etc when `start` is called.
    """

    def __init__(self, name: str, script: str) -> None:
        self.root, self._script = ROOT / name, _LAY + script
        self.here = Path(tempfile.mkdtemp(prefix=f"probe-{name}-"))
        # Servers change to users of their own, and those have to pass through.
        self.here.chmod(0o755)
        (self.here / "etc").mkdir()
        self._process: subprocess.Popen[bytes] | None = None

    def add_accounts(self, *names: str) -> None:
        """System users, each with a group of its name: those that the packages would have made."""
        for file in ("passwd", "group"):
            text = Path("/etc", file).read_text(encoding="utf-8")
            for number, name in enumerate(names, 64990):
                rest = f"{number}::/nowhere:/usr/sbin/nologin" if file == "passwd" else ""
                text += f"{name}:x:{number}:{rest}\n"
            (self.here / "etc" / file).write_text(text, encoding="utf-8")

    def start(self, ports: Iterable[int], **environ: object) -> None:
        """Start the script and wait until something listens on each port; if not, leave nothing behind."""
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", self._script]
        values = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "ROOT": self.root, "HERE": self.here, **environ}
        with (self.here / "output.log").open("wb") as log:
            own = {key: str(value) for key, value in values.items()}
            self._process = subprocess.Popen(
                command, env=own, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            for port in ports:
                await_port(port, self._died, self.log)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything by the first process's id, and remove the folder. May be called again."""
        if self._process is not None:
            if first := self._first():
                os.kill(first, signal.SIGKILL)
            # `unshare` ends when its child is gone, and the kernel lets that one go after all the others.
            self._process.wait(_SECONDS)
        shutil.rmtree(self.here, ignore_errors=True)

    def run(self, script: str, stdin: str = "") -> str:
        """What a shell script says that is run among them."""
        command = ["nsenter", "--mount", "--pid", "--target", str(self._first()), "bash", "-ec", script]
        environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HERE": str(self.here)}
        done = subprocess.run(command, env=environ, input=stdin, text=True, capture_output=True, timeout=_SECONDS)
        assert done.returncode == 0, (script, done.stdout, done.stderr)
        return done.stdout

    def end(self, pid_file: str) -> None:
        """End the process whose id stands in a file of `here`, and wait until it is gone."""
        self.run(f'id=$(cat "$HERE/{pid_file}"); kill "$id"; while kill -0 "$id" 2>/dev/null; do sleep 0.02; done')

    def log(self) -> str:
        """What they have said so far."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.here.glob("**/*log")) if path.is_file())

    def _died(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _first(self) -> int | None:
        """The first process of the namespace: the child of `unshare`."""
        assert self._process is not None
        if self._process.poll() is not None:
            return None
        until = time.monotonic() + _SECONDS
        while not (found := _children(self._process.pid)) and self._process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        return found[0] if found else None


def await_port(port: int, has_died: Callable[[], bool], log: Callable[[], str]) -> None:
    """Wait until something listens on the port; RuntimeError with the log when it does not."""
    until = time.monotonic() + _SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if has_died() or time.monotonic() > until:
                raise RuntimeError(f"nothing listens on port {port}:\n{log()[-4000:]}") from None
            time.sleep(0.02)


def _children(parent: int) -> list[int]:
    """The living children of a process (proc(5): state and parent stand behind the name)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, its_parent = path.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(its_parent) == parent and state not in "ZX":
            found.append(int(path.parent.name))
    return found
