"""E-mail: send the receipt."""
