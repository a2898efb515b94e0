"""What a declaration is, and the options that commands share."""
