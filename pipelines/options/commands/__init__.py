"""The options of each command, a file a command or group of commands. A class's docstring says what its command does."""
