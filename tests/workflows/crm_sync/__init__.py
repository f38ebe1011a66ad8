"""The sync of accounts with the CRM, on the real server."""
