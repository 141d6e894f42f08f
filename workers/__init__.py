"""What runs inside an actor."""

import os

# oneDNN keeps a kernel for every shape of a bf16 product it has met, and packed batches hardly ever repeat a shape: its
# default of 1024 kernels grows a worker by gigabytes and saves nothing. It is read once, when torch first computes.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")
