"""One row for each op that the edge runtime computes, by family."""
