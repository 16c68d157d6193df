"""Guides: fields that a small integer network makes of others which are already decoded."""
