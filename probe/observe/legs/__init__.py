"""One file a conversation, read top-down like the contract's table. A reader is one file with `Settings`, `STAGES`, `read`."""
