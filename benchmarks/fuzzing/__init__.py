"""Readers of files by unknown hands, under a coverage-guided fuzzer."""
