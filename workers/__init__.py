"""What runs inside an actor."""

import os
import re

# oneDNN compiles a kernel for every shape of a product, of 150 KiB and more, and torch keeps a description of 280 KiB
# beside it. Each has a cache of 1024 entries by default, which grow a worker by hundreds of megabytes in a job. Packed
# sizes are rounded so that shapes come again (workers/unit_lm/engine/packing.py), and a pass has about 15 of them;
# what a smaller cache has forgotten takes about a millisecond to make again. Both sizes are read once, when torch
# first computes.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")

# Torch reads what is no number as 0, wraps what is too large, and with 0 uses the entry that it has just dropped: the
# process dies of it. The smallest cache that works holds one.
_capacity = os.environ.get("LRU_CACHE_CAPACITY", "64")
if not re.fullmatch(r"\s*\+?0*[1-9][0-9]{0,8}\s*", _capacity, re.ASCII):
    _capacity = "1" if re.fullmatch(r"\s*[-+]?0+\s*", _capacity) else "64"
os.environ["LRU_CACHE_CAPACITY"] = _capacity
