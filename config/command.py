"""What both programs' commands share: exit codes, and one line for an error."""

from __future__ import annotations

import errno
import io
import math
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.markup import escape

from pgfolio.config.errors import UserError, WrongUsageError
from pgfolio.config.startup import INTERRUPTED
from pgfolio.config.terminal import ERR, printable

if TYPE_CHECKING:
    from collections.abc import Sequence


FAILED, WRONG_USAGE, PARTIAL = 1, 2, 3
UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EIO}


class Number(click.FloatRange):
    """A range that nan, which is neither below nor above anything, is not in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail("nan is not a number", param, ctx)
        return number


def run(cli: click.Command) -> NoReturn:
    """Run the command and leave with its exit code. Of a UserError (1, of wrong usage 2) the message is shown, of any
    other its type too. `--verbose`, anywhere, shows the traceback.
    """
    # A shell starts background jobs with Ctrl-C ignored; `kill -INT` must stop us all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    arguments = [argument for argument in sys.argv[1:] if argument != "--verbose"]
    verbose = len(arguments) < len(sys.argv) - 1
    sys.exit(_guarded(cli, arguments, verbose=verbose))


def show_error(message: str) -> None:
    ERR.print(f"[bold red]error:[/] {escape(message)}")


def _guarded(cli: click.Command, arguments: Sequence[str], *, verbose: bool) -> int:
    try:
        code = int(cli.main(list(arguments), prog_name="pgfolio", standalone_mode=False) or 0)
        sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt, EOFError) as error:
        failure: BaseException = error
        said = str(error.__cause__ or "")  # of a run that leaves something at work
        code, message = INTERRUPTED, said or "interrupted; what was done until then is stored"
    except click.ClickException as error:
        usage = io.StringIO()
        error.show(usage)
        click.echo(printable(usage.getvalue()), err=True, nl=False)
        return max(error.exit_code, WRONG_USAGE)
    except BrokenPipeError:
        _to_nowhere()
        return 0
    except UserError as error:
        is_wrong = isinstance(error, WrongUsageError) or isinstance(error.__cause__, WrongUsageError)
        failure, code, message = error, WRONG_USAGE if is_wrong else FAILED, str(error)
    except Exception as error:  # noqa: BLE001 -- the last line of defence
        failure, code, message = error, FAILED, _unforeseen(error)
    else:
        return code
    if verbose:
        from rich.traceback import Traceback  # noqa: PLC0415 -- slow to load, and hardly ever wanted

        ERR.print(Traceback.from_exception(type(failure), failure, failure.__traceback__))
    show_error(message)
    return code


def _unforeseen(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in UNWRITABLE and not error.filename:
        _to_nowhere()
        return f"cannot write the output: {error.strerror}"
    return f"{type(error).__name__}: {error} (--verbose shows where)"


def _to_nowhere() -> None:
    """What is left in the buffer of an output that takes nothing any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
