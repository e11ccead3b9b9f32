"""The plain script an administrator would write with the standard library: plain.py imap|pop3|send (settings in BENCH_*)."""

import os
import smtplib
import ssl
import sys
import time
import uuid

env = os.environ
host, user, password = env["BENCH_ADDRESS"], env["BENCH_USER"], env["BENCH_PASSWORD"]
context = ssl.create_default_context(cafile=env["BENCH_CA"])
marker = f"plain-{uuid.uuid4().hex}"

with smtplib.SMTP(host, int(env["BENCH_SUBMISSION"]), timeout=60) as smtp:
    smtp.starttls(context=context)
    smtp.login(user, password)
    recipient = env["BENCH_SENT"] if sys.argv[1] == "send" else user
    smtp.sendmail(user, [recipient], f"From: {user}\r\nTo: {recipient}\r\nSubject: {marker}\r\n\r\n{marker}\r\n")

if sys.argv[1] == "imap":
    import imaplib

    with imaplib.IMAP4_SSL(host, int(env["BENCH_IMAPS"]), ssl_context=context, timeout=60) as imap:
        imap.login(user, password)
        imap.select("INBOX")
        while not (uids := imap.uid("SEARCH", "SUBJECT", marker)[1][0].split()):
            time.sleep(0.01)
            imap.noop()
        imap.uid("FETCH", uids[0], "(BODY.PEEK[])")
        imap.uid("STORE", uids[0], "+FLAGS.SILENT", "(\\Deleted)")
        imap.uid("EXPUNGE", uids[0])
elif sys.argv[1] == "pop3":
    import poplib

    found = False
    while not found:
        pop = poplib.POP3_SSL(host, int(env["BENCH_POP3S"]), context=context, timeout=60)
        pop.user(user)
        pop.pass_(password)
        for number in range(pop.stat()[0], 0, -1):
            if any(marker.encode() in line for line in pop.retr(number)[1]):
                pop.dele(number)
                found = True
                break
        pop.quit()
