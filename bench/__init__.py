"""Side-by-side measurements: ratios against a peer measured in the same interleaved run."""
