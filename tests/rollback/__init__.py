"""Where `kit rollback-check` plays the runs of the reference checkout."""
