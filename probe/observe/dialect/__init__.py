"""smtp, imap, pop3: octets ↔ values. No I/O, so every parser can be fuzzed."""
