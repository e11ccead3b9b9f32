"""The floor: what one loop costs a process that only imports asyncio and ssl and checks nothing (settings in BENCH_*).

Send with STARTTLS, read back over IMAP4, delete; each command waits for its reply.
"""

import asyncio
import base64
import os
import ssl
import uuid

env = os.environ
host, user, password = env["BENCH_ADDRESS"], env["BENCH_USER"], env["BENCH_PASSWORD"]
context = ssl.create_default_context(cafile=env["BENCH_CA"])
marker = f"floor-{uuid.uuid4().hex}"


class Talk:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ended: bytes) -> None:
        self.reader, self.writer, self.ended = reader, writer, ended

    async def say(self, text: str) -> bytes:
        """Send a line (or nothing) and read until a line that ends a reply."""
        if text:
            self.writer.write(f"{text}\r\n".encode())
        said = b""
        while line := await self.reader.readline():
            said += line
            if line.startswith((b"* OK", self.ended)) or (line[3:4] == b" " and line[:3].isdigit()):
                return said
        raise SystemExit(f"closed: {said!r}")


async def send() -> None:
    smtp = Talk(*await asyncio.open_connection(host, int(env["BENCH_SUBMISSION"])), b"\0")
    secret = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    for command in ("", "EHLO floor.example.test", "STARTTLS"):
        await smtp.say(command)
    await smtp.writer.start_tls(context, server_hostname="localhost")
    for command in ("EHLO floor.example.test", f"AUTH PLAIN {secret}", f"MAIL FROM:<{user}>", f"RCPT TO:<{user}>", "DATA"):
        await smtp.say(command)
    await smtp.say(f"From: {user}\r\nTo: {user}\r\nSubject: {marker}\r\n\r\n{marker}\r\n.")
    smtp.writer.write(b"QUIT\r\n")


async def read() -> None:
    imap = Talk(*await asyncio.open_connection(host, int(env["BENCH_IMAPS"]), ssl=context, server_hostname="localhost"), b"a ")
    await imap.say("")
    await imap.say(f'a LOGIN "{user}" "{password}"')
    while True:
        await imap.say('a SELECT "INBOX"')
        found = (await imap.say(f"a UID SEARCH SUBJECT {marker}")).partition(b"SEARCH")[2].split()
        if found and found[0].isdigit():
            break
        await asyncio.sleep(0.01)
    uid = found[0].decode()
    for command in (f"FETCH {uid} (BODY.PEEK[])", f"STORE {uid} +FLAGS.SILENT (\\Deleted)", f"EXPUNGE {uid}"):
        await imap.say(f"a UID {command}")


async def main() -> None:
    await send()
    await read()


asyncio.run(main())
