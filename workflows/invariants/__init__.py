"""What must be true between the systems of this service, one file for each business process. Pure."""
