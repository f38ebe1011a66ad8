"""The house: layout, imports, scripts and packaging keep their promises."""
