"""What made an artefact: the code that ran and the settings that it read."""
