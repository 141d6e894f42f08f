"""Containers of recordings, whose headers are checked against the bytes that follow."""
