"""The doors to other people's formats: tables of theirs, W&B, lm-eval."""
