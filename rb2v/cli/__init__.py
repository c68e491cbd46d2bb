"""The command line: one command per stage, each a translation of options into a call of the library."""

from __future__ import annotations

import errno
import sys
from typing import Annotated

import typer

from rb2v import __version__
from rb2v.cli.commands import LazyGroup
from rb2v.cli.shared import echo, echo_error
from rb2v.errors import Rb2vError

__all__ = ["app", "main"]

app = typer.Typer(
    name="rb2v",
    cls=LazyGroup,
    help="Blur-to-video data sets from beam-splitter rigs, and HyperCUT trained on them.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 100},  # columns; the width of the docs
)

EXIT_INPUT_WRONG = 2  # told apart from 1, a fault of the program

_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What the user's machine refuses: a full disk, a missing permission, a path that cannot be, or is gone.
_OUTSIDE_ERRORS = (
    *_FULL_ERRORS,
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ESTALE, errno.EIO),
    *(errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.EBUSY),
)


def main() -> None:
    """Run the command line; the user's mistakes end in one message and exit status 2."""
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:
        from typer._click.exceptions import NoArgsIsHelpError

        from rb2v.cli.usage import describe_usage_error

        if isinstance(error, NoArgsIsHelpError):
            error.show()
        else:
            _print_error(describe_usage_error(error))
        sys.exit(error.exit_code)
    except typer.Abort:
        _print_error("aborted")
        sys.exit(1)
    except Rb2vError as error:
        _print_error(str(error))
        sys.exit(EXIT_INPUT_WRONG)
    except OSError as error:
        if error.errno not in _OUTSIDE_ERRORS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        full = error.errno in _FULL_ERRORS
        ending = "; files under their final names are whole, run the command again to go on" if full else ""
        _print_error(f"{where}{error.strerror}{ending}")
        sys.exit(EXIT_INPUT_WRONG)


def _print_error(message: str) -> None:
    from rich.text import Text

    echo_error(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


def _show_version(value: bool) -> None:
    if value:
        echo(f"rb2v {__version__}")
        raise typer.Exit


@app.callback()
def configure(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on the way.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Set up what every command shares."""
