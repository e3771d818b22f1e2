"""Why a program could not be started.

    Invalid
      ProgramNotFound            no such file on the given PATH
      WorkingDirectoryMissing    the folder to start it in is not there
      ProgramNotStarted          the system refused, and says why

All are the caller's to repair: trying again changes nothing.
"""

from agentvine.kit.errors import Invalid


class ProgramNotFound(Invalid):
    """The program is not installed here."""

    code = "program_not_found"


class WorkingDirectoryMissing(Invalid):
    """The working directory does not exist."""

    code = "working_directory_missing"


class ProgramNotStarted(Invalid):
    """The system refused to start the program."""

    code = "program_not_started"
