"""What a file says of its own making: Content Credentials, metadata, and where they contradict each other."""
