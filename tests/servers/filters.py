"""Debian's SpamAssassin and MIMEDefang as milters of MailServers' Postfix.

SpamAssassin (spamd, asked by spamass-milter) takes every message for spam, by a rule of ours, and sends it on in a report of its
own; without network. MIMEDefang adds a footer behind the text, a part with a banner in front of it, or sends links elsewhere. Both
run apart (tests/servers/apart.py): only unpacked (scripts/unpack-stacks), since installed they would start by themselves.
"""

import shutil

from tests.servers import apart
from tests.servers.mail import MailServers, free_ports
from tests.servers.pki import Authority

FOOTER = "Example Ltd disclaims everything that its people write."
BANNER = "CAUTION: Example Ltd does not know who wrote this."
_SPAMD = r"""spamd --local --nouser-config --username nobody --listen 127.0.0.1:$SPAMD --syslog "$HERE/spamd.log" &
spamass-milter -p inet:$SPAM@127.0.0.1 -- -d 127.0.0.1 -p $SPAMD &
"""
_MIMEDEFANG = r"""mkdir /run/FILTER
chown nobody: /run/FILTER
mimedefang-multiplexor -D -U nobody -m 1 -x 4 -z /run/FILTER -s /run/FILTER/workers -F /etc/mail/FILTER &
while [ ! -S /run/FILTER/workers ]; do sleep 0.02; done
mimedefang -D -U nobody -z /run/FILTER -m /run/FILTER/workers -p inet:$PORT@127.0.0.1 &
"""
_RULES = """report_safe 1
required_score 5
use_bayes 0
header EVERY_MESSAGE From =~ /./
describe EVERY_MESSAGE Every message is spam here
score EVERY_MESSAGE 100
"""
_ADDS = {
    "footer": f'sub filter_end {{ append_text_boilerplate($_[0], "{FOOTER}", 0); }}',
    "banner": f'sub filter_end {{ action_add_part($_[0], "text/plain", "-suggest", "{BANNER}\\n", "banner.txt", "inline", 0); }}',
    "links": r"""sub filter {
    my ($entity) = @_;
    my $text = $entity->bodyhandle->as_string;
    $text =~ s{https://(\S+)}{https://links.example.test/?to=$1}g;
    my $io = $entity->bodyhandle->open("w");
    $io->print($text);
    $io->close;
    action_rebuild();
}""",
}


def why_not() -> str | None:
    """Why they cannot be started here, as a skip's reason; None where they can."""
    return apart.why_not("filters", "SpamAssassin and MIMEDefang cannot be unpacked here")


class FilteredMailServers(MailServers):
    """Postfix and Dovecot, with milters in the order given: `spam`, `footer`, `banner`, `links`; a context manager. `before`: a
    further one, as smtpd_milters names it, in front of them."""

    def __init__(self, authority: Authority, *milters: str, before: str = "") -> None:
        adding = {name: _MIMEDEFANG.replace("FILTER", name).replace("PORT", name.upper()) for name in _ADDS}
        scripts = {"spam": _SPAMD, **adding}
        self._programs = apart.Apart("filters", "".join(scripts[name] for name in milters) + "wait\n")
        self._listening = free_ports((*milters, *(["spamd"] if "spam" in milters else [])))
        asked = ", ".join(f"inet:127.0.0.1:{self._listening[name]}" for name in milters)
        super().__init__(authority, extra_postfix={"smtpd_milters": f"{before}, {asked}" if before else asked})

    def start(self) -> None:
        """Start the milters, and then Postfix and Dovecot."""
        try:
            self._lay()
            self._programs.start(self._listening.values(), **{name.upper(): port for name, port in self._listening.items()})
        except BaseException:
            self.stop()
            raise
        super().start()

    def stop(self) -> None:
        super().stop()
        self._programs.stop()

    def log(self) -> str:
        return super().log() + self._programs.log()

    def _lay(self) -> None:
        etc = self._programs.here / "etc"
        for folder in ("spamassassin", "mail"):
            shutil.copytree(self._programs.root / "etc" / folder, etc / folder, symlinks=True)
        (etc / "spamassassin/local.cf").write_text(_RULES)
        for name, adds in _ADDS.items():
            (etc / "mail" / name).write_text(f"{adds}\n1;\n")
