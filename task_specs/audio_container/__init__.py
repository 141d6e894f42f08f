"""What the bytes of a recording say, held against what its header says of them."""
