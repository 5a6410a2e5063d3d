"""Reading and writing files that people give: what is in them, whether they can be written, all or nothing."""
