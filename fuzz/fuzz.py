"""Coverage-guided fuzzing of everything that reads a server's octets: fuzz.py TARGET [libFuzzer options…].

Targets: smtp, imap, pop3, message, certificate. A target may refuse its input in the one way its module documents; anything else
that it raises is a bug and becomes a test. `make fuzz` runs each for FUZZ_SECONDS (60) with the corpus in fuzz/corpus.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["probe", "imapclient"]):
    from datetime import UTC, datetime

    from probe.certificate.host_name import dns_name_matches
    from probe.message import Sent, carries_marker, new_marker, prove, read, recognise
    from probe.observe.certified import certified
    from probe.observe.protocol import imap, pop3, smtp
    from probe.redact import Redactor

MARKER = new_marker(bytes(16))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def fuzz_smtp(data: bytes) -> None:
    reader = smtp.ReplyReader()
    try:
        for line in data.split(b"\r\n"):
            if reader.add(line):
                break
        reply = reader.reply()
    except smtp.Malformed:
        return
    words = smtp.keywords(reply)
    smtp.mechanisms(words), smtp.name_given(reply), smtp.queue_id(reply.text), smtp.node(reply.text), reply.enhanced
    assert smtp.dot_stuffed(data).endswith(b".\r\n")


def fuzz_imap(data: bytes) -> None:
    chunks = data.split(b"\0\0")
    parts: list[imap.Part] = [(chunk[: len(chunk) // 2], chunk[len(chunk) // 2 :]) for chunk in chunks[:-1]]
    parts.append(chunks[-1])
    try:
        imap.literal_octets(data)
        item = imap.untagged(parts)
        imap.capabilities([item])
        if item.kind == "SEARCH":
            imap.search_numbers(item)
        for value in imap.fetched(item).values():
            imap.octets_of(value)
    except imap.Malformed:
        pass
    imap.tagged(data)


def fuzz_pop3(data: bytes) -> None:
    lines = data.split(b"\r\n")
    pop3.capabilities(tuple(lines))
    for line in lines:
        pop3.unstuffed(line)
        try:
            answer = pop3.response(line)
            pop3.timestamp(answer.text)
            pop3.count(answer.text)
        except pop3.Malformed:
            continue


def fuzz_message(data: bytes) -> None:
    letter = read(data)
    assert not prove(letter, key=b"z" * 32, expected=Sent(MARKER, "a@x.test", "b@x.test", "2026-01-01T00:00:00Z")).ours
    assert recognise(letter, key=b"z" * 32, known={}) is None
    carries_marker(data, MARKER)
    text = data.decode("utf-8", "replace")
    assert "sEcReT-value" not in Redactor(["sEcReT-value"]).text(text + "sEcReT-value" + text)


def fuzz_certificate(data: bytes) -> None:
    chain = tuple(data.split(b"\0\0\0\0")[:4])
    certified(chain, host="mail.x.test", openssl_code=20, openssl_text="", now=NOW)
    dns_name_matches(data.decode("utf-8", "replace"), "mail.x.test")


TARGETS = {name.removeprefix("fuzz_"): value for name, value in list(globals().items()) if name.startswith("fuzz_")}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: fuzz.py {'|'.join(TARGETS)} [libFuzzer options]")
    target = TARGETS[sys.argv.pop(1)]
    corpus = Path(__file__).parent / "corpus" / target.__name__.removeprefix("fuzz_")
    atheris.Setup([*sys.argv, str(corpus)], lambda data: target(bytes(data)))
    atheris.Fuzz()
