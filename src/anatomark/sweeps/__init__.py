"""Sweeps: an Optuna study that resumes and prunes, and the summary of every sweep's jobs."""
