"""Debian's Exim in front of Debian's Cyrus, with saslauthd and sasldb behind both: a stack without Postfix and without Dovecot.

PLAIN and LOGIN are asked of saslauthd, by both servers; the challenges come from sasldb, through Cyrus SASL in both (in Exim by its
`cyrus_sasl` driver; CRAM-MD5 and NTLM by drivers of its own). Exim hands mail to Cyrus by LMTP; Cyrus makes mailboxes as they come.
"""

import imaplib
import shutil
import smtplib
import ssl
from string import Template

from tests.servers import apart
from tests.servers.mail import SERVICES, free_ports
from tests.servers.pki import Authority, Certificate

_SCRIPT = r"""mkdir -p /run/saslauthd
chmod 755 /run/saslauthd
saslauthd -d -a sasldb -m /run/saslauthd -n 1 &
echo $! > "$HERE/saslauthd.pid"
while [ ! -S /run/saslauthd/mux ]; do sleep 0.02; done
cyrmaster -C /etc/imapd.conf -M /etc/cyrus.conf -p "$HERE/cyrus.pid" &
exim4 -bdf -q1h &
wait
"""

_EXIM = Template(r"""primary_hostname = $fqdn
domainlist local_domains = $domain
spool_directory = $here/exim
log_file_path = $here/exim/%slog
pid_file_path = $here/exim/pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = $submission : $submissions
tls_on_connect_ports = $submissions
tls_advertise_hosts = *
tls_certificate = $here/exim.pem
tls_privatekey = $here/exim.key
auth_advertise_hosts = $${if eq{$$tls_in_cipher}{}{}{*}}
acl_smtp_rcpt = rcpt
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max_per_host = 0
keep_environment =
begin acl
rcpt:
  deny local_parts = refused
       message = no such user here
  accept authenticated = *
  deny
begin routers
cyrus:
  driver = manualroute
  domains = +local_domains
  transport = lmtp
  route_list = * 127.0.0.1
  self = send
begin transports
lmtp:
  driver = smtp
  protocol = lmtp
  port = $lmtp
  hosts_try_auth =
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = $${if saslauthd{{$${local_part:$$auth2}}{$$auth3}{smtp}{$${domain:$$auth2}}}{1}{0}}
  server_set_id = $$auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = $${if saslauthd{{$${local_part:$$auth1}}{$$auth2}{smtp}{$${domain:$$auth1}}}{1}{0}}
  server_set_id = $$auth1
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = $${lookup{$$auth1}lsearch{$here/secrets}{$$value}fail}
  server_set_id = $$auth1
ntlm:
  driver = spa
  public_name = NTLM
  server_password = $${lookup{$$auth1}lsearch{$here/secrets}{$$value}fail}
  server_set_id = $$auth1
""")

_EXIM_SASL = """{lower}:
  driver = cyrus_sasl
  public_name = {name}
  server_mech = {name}
  server_hostname = {fqdn}
  server_realm = {domain}
  server_set_id = $auth1
"""

_IMAPD = Template("""configdirectory: $here/cyrus
defaultpartition: default
partition-default: $here/cyrus/spool
servername: $fqdn
defaultdomain: elsewhere.test
virtdomains: userid
unixhierarchysep: yes
altnamespace: yes
admins: cyrus
autocreate_post: yes
autocreate_quota: 0
allowplaintext: no
allowapop: yes
popminpoll: 0
failedloginpause: 0
sasl_pwcheck_method: saslauthd
sasl_saslauthd_path: /run/saslauthd/mux
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: $here/sasldb2
sasl_mech_list: $mechanisms
tls_server_cert: $here/cyrus.pem
tls_server_key: $here/cyrus.key
sievedir: $here/cyrus/sieve
lmtpsocket: $here/cyrus/socket/lmtp
idlesocket: $here/cyrus/socket/idle
notifysocket: $here/cyrus/socket/notify
proc_path: $here/cyrus/proc
mboxname_lockpath: $here/cyrus/lock
duplicatesuppression: no
""")

_CYRUS = Template("""START {
  recover cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -r"
}
SERVICES {
  imap cmd="/usr/lib/cyrus/bin/imapd" listen="127.0.0.1:$imap" prefork=1 proto="tcp4"
  imaps cmd="/usr/lib/cyrus/bin/imapd -s" listen="127.0.0.1:$imaps" prefork=1 proto="tcp4"
  pop3 cmd="/usr/lib/cyrus/bin/pop3d" listen="127.0.0.1:$pop3" prefork=1 proto="tcp4"
  pop3s cmd="/usr/lib/cyrus/bin/pop3d -s" listen="127.0.0.1:$pop3s" prefork=1 proto="tcp4"
  lmtp cmd="/usr/lib/cyrus/bin/lmtpd -a" listen="127.0.0.1:$lmtp" prefork=1 proto="tcp4"
}
EVENTS {
  checkpoint cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -c" period=30
}
""")

_BY_SASL = ("DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512")


def why_not() -> str | None:
    """Why it cannot be started here, as a skip's reason; None where it can."""
    return apart.why_not("exim-cyrus", "Exim and Cyrus cannot be unpacked here")


class EximCyrus:
    """Exim and Cyrus for one domain, with the ports of `MailServers`; a context manager."""

    domain = "example.test"
    fqdn = "mail.example.test"

    def __init__(self, authority: Authority) -> None:
        self.ca_file = authority.ca_file
        self.ports = free_ports((*(name for name in SERVICES if name != "smtp25"), "lmtp"))
        self.programs = apart.Apart("exim-cyrus", _SCRIPT)
        self._passwords: dict[str, str] = {}
        self._write(authority.leaf(self.fqdn, "localhost", "127.0.0.1"))

    def __enter__(self) -> "EximCyrus":
        self.programs.start(self.ports.values())
        return self

    def __exit__(self, *_: object) -> None:
        self.programs.stop()

    def add_user(self, name: str, password: str) -> str:
        """Add a user to sasldb, and to the clear passwords of Exim's own drivers; returns the address."""
        address = f"{name}@{self.domain}"
        self.programs.run(f'saslpasswd2 -p -c -f "$HERE/sasldb2" -u {self.domain} {name}; chmod 644 "$HERE/sasldb2"', password)
        self._passwords[address] = password
        secrets = "".join(f"{user}: {secret}\n" for user, secret in self._passwords.items())
        (self.programs.here / "secrets").write_text(secrets)
        # A mailbox comes with its user's first logon, and two at once would be in each other's way.
        self.messages(name)
        return address

    def deliver(self, name: str, raw: bytes) -> None:
        """Put a message into a mailbox by LMTP, as Exim does."""
        with smtplib.LMTP("127.0.0.1", self.ports["lmtp"]) as lmtp:
            lmtp.sendmail("friend@example.test", [f"{name}@{self.domain}"], raw)

    def messages(self, name: str) -> list[bytes]:
        """Every message of the INBOX, by Python's own client."""
        address = f"{name}@{self.domain}"
        context = ssl.create_default_context(cafile=self.ca_file)
        with imaplib.IMAP4_SSL("127.0.0.1", self.ports["imaps"], ssl_context=context, timeout=10) as imap:
            imap.login(address, self._passwords[address])
            imap.select(readonly=True)
            numbers = imap.search(None, "ALL")[1][0].split()
            return [imap.fetch(number.decode(), "(BODY.PEEK[])")[1][0][1] for number in numbers]  # type: ignore[index,misc]

    def log(self) -> str:
        return self.programs.log()

    def stop_authentication(self) -> None:
        """End saslauthd, and wait until it is gone."""
        self.programs.end("saslauthd.pid")

    def _write(self, leaf: Certificate) -> None:
        here = self.programs.here
        values = {"here": here, "fqdn": self.fqdn, "domain": self.domain, **self.ports}
        self.programs.add_accounts("cyrus", "Debian-exim")
        etc = here / "etc"
        (etc / "exim4").mkdir()
        (etc / "sasl2").mkdir()
        by_sasl = "".join(
            _EXIM_SASL.format(lower=name.lower().replace("-", "_"), name=name, fqdn=self.fqdn, domain=self.domain)
            for name in _BY_SASL
        )
        (etc / "exim4/exim4.conf").write_text(_EXIM.substitute(values) + by_sasl)
        (etc / "sasl2/exim.conf").write_text(f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {here}/sasldb2\n")
        (etc / "sasldb2").symlink_to(here / "sasldb2")
        (etc / "imapd.conf").write_text(_IMAPD.substitute(values, mechanisms=" ".join(("PLAIN LOGIN CRAM-MD5", *_BY_SASL))))
        (etc / "cyrus.conf").write_text(_CYRUS.substitute(self.ports))
        (here / "secrets").touch()
        for name, uid in (("cyrus", 64990), ("exim", 64991)):
            for folder in ("", *(("spool", "sieve", "socket", "proc", "lock", "db", "log", "msg") if name == "cyrus" else ())):
                (here / name / folder).mkdir(exist_ok=True)
                shutil.chown(here / name / folder, uid, uid)
            for kind, source in (("pem", leaf.cert_file), ("key", leaf.key_file)):
                shutil.copy(source, here / f"{name}.{kind}")
                shutil.chown(here / f"{name}.{kind}", uid, uid)
