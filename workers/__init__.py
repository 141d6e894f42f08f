"""What runs inside an actor."""

import os

# oneDNN compiles a kernel for every shape of a product and keeps the last ones, half a megabyte each. Packed sizes are
# rounded so that shapes come again (workers/backbone/packing.py); a pass has about 15 of them, and batches of a task a
# dozen sizes. The default of 1024 grows a worker by gigabytes. It is read once, when torch first computes.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "256")
