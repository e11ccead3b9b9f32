"""The offers of mail programs: every row is whole, has a source, and says what this OpenSSL cannot make of it."""

from datetime import date

import pytest

from probe.clients import Client, Offer, clients
from probe.observe.connection.imitated import imitation
from probe.output._clients import offers
from probe.profile import ProfileError, load_mapping
from probe.profile.model import KNOWN_MECHANISMS
from probe.tasks.plan import plugins

OFFERS = {client.offer.id: client.offer for client in clients().values()}
# What today's OpenSSL is built without, or knows no more.
RETIRED = ("DES-CBC3", "RC4", "DSS", "MD5", "secp256k1")
SERVICES = {f"{protocol}-{security}" for protocol in ("smtp", "imap", "pop3") for security in ("starttls", "tls")}
COMMANDS = {"imap": {"login"}, "pop3": {"user", "apop"}, "smtp": set()}


@pytest.mark.parametrize("client", clients().values(), ids=lambda client: client.id)
def test_a_program_is_described_whole(client: Client) -> None:
    assert client.services and client.services <= SERVICES
    for protocol, names in client.mechanisms.items():
        assert bool(names) == client.speaks(protocol)
        assert set(names) <= set(KNOWN_MECHANISMS) | COMMANDS[protocol]
    assert client.source.startswith("https://") and date(2026, 11, 27) <= client.checked


@pytest.mark.parametrize("offer", OFFERS.values(), ids=lambda offer: offer.id)
def test_openssl_makes_of_an_offer_all_but_what_is_retired(offer: Offer) -> None:
    assert offer.source.startswith("https://") and offer.ciphers
    made = imitation(offer)
    assert all(any(word in name for word in RETIRED) for name in made.left_out), made.left_out
    # Where the source is a capture of the wire there is nothing to guess but whose capture it is.
    assert offer.unsure or "testssl" in offer.source or "python" in offer.source


def test_the_list_shows_each_program_with_its_doubts() -> None:
    listed = "\n".join(offers(clients()))
    assert all(f"{name}: " in listed for name in clients())
    assert "not certain: a reasoned guess: makers seldom say what their devices offer" in listed


def test_a_profile_expects_programs_by_their_names() -> None:
    data = {"submission": {"host": "mail.contoso.com"}, "message": {"sender": "a@contoso.com", "recipient": "a@contoso.com"}}
    loaded = load_mapping({**data, "expect": {"clients": ["java-8", "scanner-2015"]}}, plugins=plugins())
    assert loaded.expect.clients == ("java-8", "scanner-2015")
    with pytest.raises(ProfileError, match=r"expected a mail program such as outlook-windows-10 .*--clients --list"):
        load_mapping({**data, "expect": {"clients": ["outlook-window-10"]}}, plugins=plugins())
