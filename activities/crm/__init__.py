"""The CRM: read, write and list companies."""
