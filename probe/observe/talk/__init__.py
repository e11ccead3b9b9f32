"""The conversation side of each protocol: commands out, whole replies in, over a recorded connection."""
