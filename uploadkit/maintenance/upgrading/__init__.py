"""The upgrade of the one executable file, and the way back: the program, and the database that belongs to it."""
