"""What a spec may call beside ops and its own functions: pieces that own weights or state."""
