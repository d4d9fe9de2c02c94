"""How many bytes of other people's requests are held at once, over everything."""


class Budget:
    """A number of bytes that are taken and given back; what does not fit is refused, nobody waits."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def take(self, size: int) -> bool:
        """Take ``size`` bytes; False, and nothing taken, when that would be too much."""
        if self.taken + size > self.limit:
            return False
        self.taken += size
        return True

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        self.taken -= size
