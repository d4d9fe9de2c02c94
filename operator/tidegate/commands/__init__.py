"""The commands behind the command line. What is heavy is imported when a command runs, so that help is fast."""
