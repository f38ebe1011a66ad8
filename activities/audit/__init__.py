"""The audit trail: records that are added and never changed."""
