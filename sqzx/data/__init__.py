"""Data sets: what is known of them, how they are prepared and stored, how they are split."""
