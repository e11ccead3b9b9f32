"""Debian's Courier (IMAP4, POP3, authdaemond) over the maildirs of MailServers, with Postfix asking authdaemond too, by Cyrus SASL.

Where it is installed it removes Dovecot, so it runs apart (tests/servers/apart.py). All three offer CRAM-MD5. The readers can do it
for a user whose password is stored for it (`store_for_challenges`), Postfix for nobody: authdaemond takes only clear passwords.
"""

import shutil
from string import Template

from tests.servers import apart
from tests.servers.mail import MailServers, free_ports
from tests.servers.pki import Authority

# Each daemon reads shell variables from its environment, as Courier's own start scripts give them.
_SCRIPT = r"""mkdir -p /run/courier/authdaemon
mount --bind "$HERE/courier" /etc/courier
mount --bind "$HERE/socket" /run/courier/authdaemon
makeuserdb -f /etc/courier/userdb
(set -a; . /etc/courier/authdaemonrc; exec /usr/lib/courier/courier-authlib/authdaemond) &
echo $! > "$HERE/authdaemond.pid"
while [ ! -S /run/courier/authdaemon/socket ]; do sleep 0.02; done
serve() { exec couriertcpd -address=127.0.0.1 -maxprocs=40 -maxperip=20 $TCPDOPTS "$@"; }
imap() {
    set -a; prefix=/usr
    . /etc/courier/imapd; . /etc/courier/imapd-ssl
    IMAP_MOVE_EXPUNGE_TO_TRASH=$TRASH IMAP_TLS=$1 IMAP_STARTTLS=$4 IMAP_TLS_REQUIRED=1 TLS_CACHEFILE= TLS_DHPARAMS=
    IMAP_CAPABILITY_TLS="$IMAP_CAPABILITY AUTH=PLAIN AUTH=LOGIN AUTH=CRAM-MD5"
    serve $2 $3 /usr/lib/courier/courier/imaplogin /usr/bin/imapd Maildir
}
pop3() {
    set -a; prefix=/usr
    . /etc/courier/pop3d; . /etc/courier/pop3d-ssl
    POP3_TLS=$1 POP3_STARTTLS=$4 POP3AUTH= POP3AUTH_TLS="LOGIN PLAIN CRAM-MD5" TLS_CACHEFILE= TLS_DHPARAMS=
    cd /usr/lib/courier/courier
    serve $2 $3 $PWD/courierpop3login $PWD/courierpop3d Maildir
}
TLS="/usr/bin/couriertls -server -tcpd"
imap 0 $IMAP "" YES &
imap 1 $IMAPS "$TLS" NO &
pop3 0 $POP3 "" YES &
pop3 1 $POP3S "$TLS" NO &
wait
"""
_SASL = Template("""pwcheck_method: authdaemond
authdaemond_path: $here/socket/socket
mech_list: PLAIN LOGIN CRAM-MD5
log_level: 3
""")


def why_not() -> str | None:
    """Why it cannot be started here, as a skip's reason; None where it can."""
    return apart.why_not("courier", "Courier cannot be unpacked here")


class PostfixCourier(MailServers):
    """Postfix and Courier for one domain, with the ports of `MailServers`, whose Dovecot only delivers; a context manager."""

    def __init__(self, authority: Authority, *, trash: bool = False) -> None:
        """`trash`: what is expunged over IMAP4 goes into INBOX.Trash."""
        self._trash = trash
        self._programs = apart.Apart("courier", _SCRIPT)
        super().__init__(authority, extra_postfix={"smtpd_sasl_type": "cyrus", "smtpd_sasl_path": "smtpd"})
        # Debian's Postfix reads it beside main.cf, whatever cyrus_sasl_config_path says.
        (self.directory / "postfix/sasl").mkdir(parents=True)
        (self.directory / "postfix/sasl/smtpd.conf").write_text(_SASL.substitute(here=self._programs.here))
        self._users: dict[str, str] = {}
        self._readers = free_ports(("imap", "imaps", "pop3", "pop3s"))

    def start(self) -> None:
        """Start Postfix with Dovecot, and then Courier, whose ports take the place of Dovecot's readers."""
        super().start()
        try:
            self._lay()
            ports = {name.upper(): port for name, port in self._readers.items()}
            self._programs.start(self._readers.values(), TRASH=int(self._trash), **ports)
        except BaseException:
            self.stop()
            raise
        self.ports |= self._readers

    def stop(self) -> None:
        self._programs.stop()
        super().stop()

    def add_user(self, name: str, password: str, extra: str = "") -> str:
        """Add a user with an empty maildir, or change the password, which is stored only hashed; returns the address."""
        address = super().add_user(name, password, extra)
        owner = self.maildir(name).parent.stat()
        for folder in ("", "cur", "new", "tmp"):
            (self.maildir(name) / folder).mkdir(exist_ok=True)
            shutil.chown(self.maildir(name) / folder, owner.st_uid, owner.st_gid)
        where = f"uid={owner.st_uid}|gid={owner.st_gid}|home={self.maildir(name)}|mail={self.maildir(name)}"
        self._users[address] = f"{where}|systempw={self._stored('openssl passwd -6 -stdin', password)}"
        self._store()
        return address

    def store_for_challenges(self, name: str, password: str) -> None:
        """Store the password beside its hash in the form that the readers' CRAM-MD5 needs."""
        self._users[self.address(name)] += f"|hmac-md5pw={self._stored('userdbpw -hmac-md5', password)}"
        self._store()

    def set_options(self, name: str, options: str) -> None:
        """Give a user options of authdaemond, such as `disablepop3=1`."""
        self._users[self.address(name)] += f"|options={options}"
        self._store()

    def log(self) -> str:
        return super().log() + self._programs.log()

    def stop_authentication(self) -> None:
        """End authdaemond, and wait until it is gone."""
        self._programs.end("authdaemond.pid")

    def _stored(self, program: str, password: str) -> str:
        return self._programs.run(program, f"{password}\n").strip()

    def _store(self) -> None:
        text = "".join(f"{address}\t{fields}\n" for address, fields in self._users.items())
        (self._programs.here / "courier/userdb").write_text(text)
        self._programs.run("makeuserdb -f /etc/courier/userdb")

    def _lay(self) -> None:
        here = self._programs.here
        self._programs.add_accounts("courier")
        (here / "etc/courier").mkdir()
        (here / "socket").mkdir()
        shutil.copytree(self._programs.root / "etc/courier", here / "courier")
        rc = here / "courier/authdaemonrc"
        rc.write_text(rc.read_text().replace('authmodulelist="authpam"', 'authmodulelist="authuserdb"'))
        users = here / "courier/userdb"
        users.touch(mode=0o600)
        chain = self.certificate.key_file.read_text() + self.certificate.cert_file.read_text()
        for name in ("imapd.pem", "pop3d.pem"):
            (here / "courier" / name).write_text(chain)
