"""What runs inside an actor."""

import os

# oneDNN compiles a kernel for every shape of a product, of 150 KiB and more, and torch keeps a description of 280 KiB
# beside it. Each has a cache of 1024 entries by default, which grow a worker by hundreds of megabytes in a job. Packed
# sizes are rounded so that shapes come again (workers/backbone/packing.py), and a pass has about 15 of them; what a
# smaller cache has forgotten takes about a millisecond to make again. Both sizes are read once, when torch first
# computes.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "64")
