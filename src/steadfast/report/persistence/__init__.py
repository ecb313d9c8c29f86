"""Whether what was trained lasts: attacks, personas and ordinary wear become numbers, sentences and figures."""
