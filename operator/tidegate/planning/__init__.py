"""What a change would do, without doing it: the operator's own decision and its own writes, made to nothing."""
