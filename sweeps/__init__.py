"""Many networks: enumerate a study, price it, run it, resume it."""
