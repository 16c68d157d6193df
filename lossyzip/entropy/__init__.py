"""Codes -> bytes: tokens, contexts and their tables, rANS, bit packing, and the lossless back end."""
