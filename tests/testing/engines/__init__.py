"""The engines that run scenarios, and that they agree."""
