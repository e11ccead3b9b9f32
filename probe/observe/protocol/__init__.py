"""smtp, imap, pop3: octets ↔ values without I/O, and beside each the conversation: commands out, whole replies in."""
