"""What a configuration will cost, told before anything is spent."""
