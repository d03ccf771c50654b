"""What stands in files and on command lines: configuration, endpoints, tokens, URLs, and what jobs have printed."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactor

from jobd import wire
from jobd.client import url
from jobd.client.streams import output_bytes
from jobd.errors import UsageError
from jobd.listening import make_token, parse_endpoints
from jobd.outputs import Outputs
from jobd.settings import DURABILITIES, NAMES, PICKLES, from_options
from jobd.worker.output import output_path
from tests.fuzz import material
from tests.fuzz.target import Target


@contextlib.contextmanager
def _file(data: bytes) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="jobd-fuzz-") as folder:
        path = Path(folder) / "file"
        path.write_bytes(data)
        path.chmod(0o600)
        yield path


def _check_message(problem: UsageError) -> None:
    """It ends a program, as its last line."""
    text = str(problem)
    assert text and text.isprintable(), f"not fit to be shown: {text!r}"


def check_config(data: bytes) -> None:
    """A file is settings that make sense, or an error for the person who wrote it."""
    with _file(data) as path:
        try:
            settings = from_options({}, path)
        except UsageError as problem:
            _check_message(problem)
            return
    assert settings.workers >= 1 and settings.keep_jobs >= 1 and settings.keep_days >= 0
    assert settings.durability in DURABILITIES and settings.pickle in PICKLES
    assert settings.state_dir.is_absolute() and "\0" not in str(settings.state_dir)
    for one in settings.listen:
        check_endpoint(one.encode("utf-8", "surrogatepass"))


def check_endpoint(data: bytes) -> None:
    """A word is an endpoint, or it is an error that says so."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    try:
        ((description, _),) = parse_endpoints([text], MemoryReactor())
    except UsageError as problem:
        _check_message(problem)
    else:
        assert description.startswith(text)


def check_token(data: bytes) -> None:
    """A token that the daemon takes from its file can be said by a client, and is understood."""
    with _file(data) as path:
        try:
            token = make_token(path)
        except UsageError as problem:
            _check_message(problem)
            return
        said = url.locate("jobd://192.0.2.7", environ={"JOBD_TOKEN_FILE": str(path)}).token
    assert said is not None and said.encode() == token
    (line,) = wire.Lines(wire.MAX_LINE_BEFORE_AUTH).feed(b"auth " + token + b"\n")
    assert line is not None and wire.parse_request(line).argument.strip() == token


def check_url(data: bytes) -> None:
    """A URL leads somewhere and can be written down again, or it is an error that says how to write one."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    for environment in ({}, {"JOBD_TOKEN": text}):
        try:
            target = url.locate(text if not environment else "jobd://192.0.2.7", environ=environment)
        except UsageError as problem:
            _check_message(problem)
            continue
        assert 0 < target.port < 65536
        assert "\0" not in target.path + target.host and "\n" not in target.url
        assert url.parse(target.url).url == target.url


def check_output(data: bytes) -> None:
    """In parts of any size, what a job has printed is all there, and what is text stays text."""
    with tempfile.TemporaryDirectory(prefix="jobd-fuzz-") as folder:
        path = Path(output_path(folder, 1234, 2, "out"))
        path.parent.mkdir()
        path.write_bytes(data)
        outputs = Outputs(folder)
        for limit in (1, 2, 3, 4, 5, 7, 100):
            _check_parts(outputs, data, limit)
        for start in (-len(data) - 3, -2, 0, len(data) // 2, len(data), len(data) + 9, 2**62):
            part = outputs.read(1234, 2, "stdout", start, 5)
            assert part.start >= 0 and part.size == len(data) and data[part.start : part.next] == part.data


def _check_parts(outputs: Outputs, data: bytes, limit: int) -> None:
    text = True
    try:
        data.decode()
    except UnicodeDecodeError:
        text = False
    found, place = b"", 0
    while place < len(data):
        part = outputs.read(1234, 2, "stdout", place, limit)
        assert 0 < len(part.data) <= limit and part.start == place, "no step forward"
        fields = part.fields()
        assert output_bytes(fields) == part.data
        # A part that is shorter than a character may have to cut one.
        assert not text or limit < 4 or "encoding" not in fields
        found, place = found + part.data, part.next
    assert found == data


_LINES_OF_TOML = st.builds(
    lambda name, value: name.encode() + b" = " + value + b"\n",
    st.sampled_from([*NAMES, "other", "[jobd]\nworkers", '"a b"']),
    st.one_of(
        st.sampled_from([b"1", b"2.5", b"inf", b"nan", b"true", b"'x'", b'"a\\u0000b"', b"'~nobody/x'", b"[1, 'x']"]),
        st.sampled_from(
            [b"'commit'", b"'local'", b"['tcp:0:interface=127.0.0.1']", b"'unix:/x:mode=9'", b"1979-05-27"]
        ),
        material.VALUES.map(material.as_json),
        material.among(material.ODD),
    ),
)

_HOSTS = st.sampled_from(
    b"jobd:// jobds:// jobd+unix:// http:// / localhost [ ::1 ] : 7733 %2f %00 \xd9\xa1 /run/jobd.sock @ ? 0".split()
)

_ENDPOINTS = st.sampled_from(
    b"tcp unix ssl systemd stdio fd tcp6 haproxy : = \\ \\: port 0 interface 127.0.0.1 mode 600 address /x".split()
)

CONFIG = Target("config", check_config, material.inputs("config", material.pieces(_LINES_OF_TOML, 4)))
ENDPOINT = Target("endpoint", check_endpoint, material.inputs("endpoint", material.pieces(_ENDPOINTS)))
TOKEN = Target("token", check_token, material.inputs("token", st.text(max_size=8).map(str.encode)))
URL = Target("url", check_url, material.inputs("url", material.pieces(_HOSTS, 6)))
OUTPUT = Target("output", check_output, material.inputs("output", st.text("aé€😀\n\0").map(str.encode)))
