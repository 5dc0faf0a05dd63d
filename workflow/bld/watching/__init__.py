"""What runs at this moment, for people who watch: read from files, of which none is touched."""
