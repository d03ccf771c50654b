"""The C++ client: built, installed, and run against real daemons."""
