"""What an operator can choose: on the command line, or under the same names in a TOML file."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import attrs

from jobd import paths
from jobd.errors import UsageError
from jobd.wire import did_you_mean, plain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DURABILITIES = ("commit", "os", "memory")
PICKLES = ("local", "all", "none")
ON_STOP = ("kill", "keep")
_SIZE = re.compile(r"([1-9][0-9]{0,15})([kKmMgGtT]?)\Z")
_SHIFTS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
WORDS = {"durability": DURABILITIES, "pickle": PICKLES, "on-stop": ON_STOP}


def usable_cores() -> int:
    """The processors this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@attrs.frozen
class Settings:
    """
    @ivar listen: Twisted server endpoint strings; empty: a Unix socket and TCP on loopback.
    @ivar workers: places for work that needs a processor.
    @ivar on_stop: what becomes of running jobs when the daemon is told to stop: they are ended, and begin again with
        the next daemon (C{kill}), or run on, and the next daemon takes them over (C{keep}).
    @ivar output_limit: how many bytes of each output stream of an attempt are kept; 0: all.
    @ivar keep_jobs: how many ended jobs are kept.
    @ivar keep_days: for how long they are kept.
    """

    listen: tuple[str, ...] = ()
    state_dir: Path = attrs.Factory(paths.state_dir)
    workers: int = attrs.Factory(usable_cores)
    token_file: Path | None = None
    tls_key: Path | None = None
    tls_cert: Path | None = None
    tls_client_ca: Path | None = None
    durability: str = "commit"
    pickle: str = "local"
    on_stop: str = "kill"
    output_limit: int = 1 << 30
    keep_jobs: int = 100_000
    keep_days: float = 30.0

    @property
    def token_path(self) -> Path:
        return self.token_file or self.state_dir / "token"

    @property
    def output_dir(self) -> Path:
        return self.state_dir / "output"

    @property
    def journals_dir(self) -> Path | None:
        """Where workers are found again by the next daemon; none where it will know nothing of their jobs."""
        return None if self.durability == "memory" or sys.platform == "win32" else self.state_dir / "workers"


NAMES = tuple(field.name.replace("_", "-") for field in attrs.fields(Settings))


def from_options(given: dict[str, Any], config: Path | None) -> Settings:
    """
    @param given: the options that stand on the command line, by their names: they win over the file's.
    @raise UsageError: with what is wrong, and where.
    """
    chosen = {**(_read(config) if config is not None else {}), **given}
    values = {name.replace("-", "_"): _convert(name, value) for name, value in chosen.items()}
    settings = Settings(**values)
    if (settings.tls_key is None) != (settings.tls_cert is None):
        raise UsageError("TLS needs both --tls-key and --tls-cert")
    if settings.on_stop == "keep" and settings.journals_dir is None:
        raise UsageError("--on-stop keep needs jobs that are kept on disk, and a system other than Windows")
    if settings.tls_client_ca is not None and settings.tls_key is None:
        raise UsageError("--tls-client-ca needs --tls-key and --tls-cert as well")
    return settings


def _read(config: Path) -> dict[str, Any]:
    try:
        with config.open("rb") as file:
            values: dict[str, Any] = tomllib.load(file)
    except OSError as problem:
        raise UsageError(f"the configuration {config} cannot be read: {problem.strerror}") from None
    except (ValueError, RecursionError) as problem:
        # Most are a TOMLDecodeError, but not those of bytes that are no text, or of an integer of a thousand digits.
        raise UsageError(f"the configuration {config} is not TOML: {plain(str(problem))}") from None
    for name in values:
        if name not in NAMES:
            raise UsageError(f"{config}: there is no option {name!r}{did_you_mean(name, NAMES)}")
    return values


def _convert(name: str, value: Any) -> Any:
    if name == "listen":
        entries = [value] if isinstance(value, str) else value
        if not isinstance(entries, (list, tuple)) or not all(isinstance(entry, str) for entry in entries):
            raise UsageError("listen takes endpoint strings, as tcp:7733:interface=127.0.0.1")
        return tuple(entries)
    if name in ("workers", "keep-jobs"):
        return _number(name, value, int, 1)
    if name == "output-limit":
        return _size(name, value)
    if name == "keep-days":
        return _number(name, value, float, 0)
    if name in WORDS:
        if value not in WORDS[name]:
            raise UsageError(f"{name} is one of {', '.join(WORDS[name])}, not {value!r}")
        return value
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        raise UsageError(f"{name} takes a path, not {value!r}")
    try:
        return Path(os.path.abspath(Path(value).expanduser()))
    except RuntimeError:
        raise UsageError(f"{name}: nobody is known whose home {str(value)!r} could begin with") from None


def _size(name: str, value: Any) -> int:
    """Bytes: a number, or one with a unit, as C{100M}; C{none} is 0."""
    if value == "none":
        return 0
    match = _SIZE.match(str(value)) if not isinstance(value, bool) else None
    if match is None:
        raise UsageError(f"{name} takes a number of bytes, as 500000, 100M or 2G, or none, not {value!r}")
    return int(match.group(1)) << _SHIFTS[match.group(2).upper()]


def _number(name: str, value: Any, kind: type, least: int) -> Any:
    try:
        number = kind(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    wrong = number is None or isinstance(value, bool) or (isinstance(value, float) and number != value)
    if wrong or not least <= number <= 1_000_000_000:
        raise UsageError(f"{name} takes a number from {least} on, not {value!r}")
    return number
