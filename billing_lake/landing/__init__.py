"""Where deliveries lie: list, open and pin report files, and join them with the pure rules of `domain`."""
