"""The table `[expect]`: what the servers must show, and what must come back. Judged only where it is set."""

from typing import Literal

from probe.profile.table import Table
from probe.profile.values import Day, HopCount, Host, MailProgram, Score, Text


class Expect(Table):
    """What the servers must show; judged only when set."""

    fqdn: Host | None = None
    ehlo: tuple[Text, ...] = ()
    ehlo_tls: tuple[Text, ...] = ()
    token_audience: tuple[Text, ...] = ()
    """Audiences (`aud`) that the server takes; an access token for another is a finding."""
    dane: bool = False
    """TLSA records stand for every server: that none does is critical, where it is a warning else."""
    dkim: Host | None = None
    """Domain whose DKIM signature the delivered message bears, and that holds."""
    dmarc: Literal["pass"] | None = None
    """What the receiving side writes of DMARC."""
    spam_score_below: Score | None = None
    """Every spam filter's score is below this, in the filter's own unit."""
    authserv_id: tuple[Text, ...] = ()
    """Names under which the receiving side writes Authentication-Results; default: those of its servers."""
    tls_on_every_hop: bool = False
    """The delivered message came over TLS at every hop over a network; a hop within one machine, and LMTP, do not count."""
    hops_at_most: HopCount | None = None
    """So many servers at most wrote that they had the message."""
    clients: tuple[MailProgram, ...] = ()
    """Mail programs that must be able to log on, as probe audit --clients --list names them; probe audit fails where one cannot."""
    secret_expires: Day | None = None
    """The day on which the password, token or client secret ends, as 2027-03-01: a warning ahead of it (tls.expires_warning)."""
