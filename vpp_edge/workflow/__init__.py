"""Work that needs several floors at once: calibrating a bundle, and making one of lower precision from it."""
