"""Five bugs that others met in public, each with the code that has it and with the kit."""
