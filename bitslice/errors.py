"""The one exception that the command line shows as a single line."""


class BitsliceError(Exception):
    """Something the user can mend: a wrong name, a bad value, a damaged file.

    The command line prints its text as one line and exits with status 2. A bug in the library is never one of these.
    """
