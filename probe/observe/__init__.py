"""All that talks to a server: it carries a plan out and records what it sees. It holds no opinion."""
