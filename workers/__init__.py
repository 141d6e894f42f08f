"""What runs inside an actor."""

import os

# oneDNN compiles a kernel for every shape of a product, half a megabyte each, and torch keeps a description of as much
# beside it: two caches of 1024 entries each, which grow a worker by hundreds of megabytes in the course of a job.
# Packed sizes are rounded so that shapes come again (workers/backbone/packing.py), and a pass has about 15 of them;
# what a smaller cache forgets takes a millisecond to make again. Both are read once, when torch first computes.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "64")
