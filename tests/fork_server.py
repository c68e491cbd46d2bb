"""Start Python programs from one process that has the heavy libraries loaded.

A program is forked, and so starts in milliseconds with a state that no other program has touched; it is a process of
its own, in a session of its own, that can be killed, interrupted and limited like any other.
"""

import atexit
import gc
import importlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from pathlib import Path

# Those that start threads, blosc2 among them, are left to the programs: threads do not survive a fork.
_LOADED = (
    *("av", "cv2", "h5py", "hdf5plugin", "pandas", "scipy.ndimage", "scipy.optimize", "scipy.signal"),
    *("lightning_fabric", "safetensors.torch", "matplotlib.backends.backend_agg", "jinja2", "torch"),
    *("distributed.cli.dask_scheduler", "distributed.cli.dask_worker"),
    *("rb2v.cli", "rb2v.simulator.simulation", "rb2v.stages.calibrate.stage", "rb2v.stages.align.stage"),
    *("rb2v.stages.build_shards.stage", "rb2v.matting.chroma", "rb2v.shards.exchange.layouts"),
    "rb2v.hypercut.train",
)

LONGEST_PROGRAM_SECONDS = 240  # some take 15 s, and a busy machine has been seen to be eight times as slow


class ForkServer:
    """The client's side: starts the server, and programs by it."""

    def __init__(self, folder):
        self._address = str(folder / "fork_server")
        self._process = None

    def start(self, code, *arguments, cwd=None, env=None, max_file_bytes=None):
        """Start a program; its text as for ``python -c``.

        Parameters
        ----------
        code : str
            The program.
        *arguments
            Its ``sys.argv[1:]``.
        cwd : Path, optional
            Where it runs.
        env : dict, optional
            Its environment; that of this process by default.
        max_file_bytes : int, optional
            Largest file that it may write.

        Returns
        -------
        ForkedProcess
        """
        if self._process is None:
            self._launch()
        request = _make_request(code, arguments) | {"max_file_bytes": max_file_bytes}
        if cwd is not None:
            request["cwd"] = str(cwd)
        if env is not None:
            request["env"] = env
        return ForkedProcess(self._address, request, [tempfile.TemporaryFile() for _ in range(2)])

    def command(self, code, *arguments):
        """Return a command line that starts the program, for those who start programs themselves.

        What runs it stands for the program: it has its environment, its output and its exit status.
        """
        if self._process is None:
            self._launch()
        return [sys.executable, "-I", "-S", __file__, self._address, code, *map(str, arguments)]

    def close(self):
        """End the server; the programs are left alone."""
        if self._process is not None:
            # A word, and not the pipes' ends, which whatever either side has forked holds open.
            self._process.stdin.write(b"end\n")
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()
            self._process = None

    def _launch(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        alone["JE_ARROW_MALLOC_CONF"] = "background_thread:false"  # that of pyarrow, which pandas imports
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._address], start_new_session=True, env=os.environ | alone, **pipes
        )
        assert self._process.stdout.readline() == b"ready\n"


class ForkedProcess:
    """A program, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, address, request, outputs):
        self._connection = connection = socket.socket(socket.AF_UNIX)
        connection.connect(address)
        self._outputs = outputs
        self._texts = []
        text = json.dumps(request).encode()
        socket.send_fds(connection, [struct.pack("!I", len(text))], [file.fileno() for file in self._outputs])
        connection.sendall(text)
        self.pid = self._receive()
        self.returncode = None

    def poll(self):
        """Return the exit status, negative after a signal; None while the program runs."""
        with suppress(TimeoutError):
            self.wait(1e-6)
        return self.returncode

    def wait(self, timeout=60):
        """Return the exit status; raise TimeoutError where there is none after so many seconds."""
        if self.returncode is None:
            self._connection.settimeout(timeout)
            self.returncode = self._receive()
            self._connection.close()
            for file in self._outputs:
                if file.readable():
                    file.seek(0)
                    self._texts.append(file.read().decode())
                file.close()
        return self.returncode

    def communicate(self, timeout=60):
        """Return what the program wrote to standard output and to standard error, once it has ended."""
        self.wait(timeout)
        return tuple(self._texts)

    def kill_group(self, number=signal.SIGKILL):
        """Send a signal to the program and to all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def _receive(self):
        data = self._connection.recv(4)
        assert len(data) == 4, "the fork server ended"
        return struct.unpack("!i", data)[0]


def _make_request(code, arguments):
    arguments = list(map(str, arguments))
    cwd, env = str(Path.cwd()), dict(os.environ)
    return {"code": code, "arguments": arguments, "cwd": cwd, "env": env, "max_file_bytes": None}


def _stand_for(address, code, *arguments):
    """Run a program by the server as if it were this process."""
    process = ForkedProcess(address, _make_request(code, arguments), [os.fdopen(os.dup(n), "wb") for n in (1, 2)])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: process.kill_group(number))
    status = process.wait(timeout=None)
    if status < 0:
        with suppress(OSError):  # that of SIGKILL cannot be set
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def _serve(address):
    """Fork a program for each request; return the request in the program's process alone."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    accepting = os.fork()
    if accepting == 0:
        return _accept(listener)
    sys.stdin.readline()  # until the client says so, or goes
    os.kill(accepting, signal.SIGTERM)
    os.waitpid(accepting, 0)
    os._exit(0)


def _accept(listener):
    signal.signal(signal.SIGTERM, _leave)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            listener.close()
            return _supervise(connection)
        connection.close()
        _reap()


def _leave(number, frame):
    _reap()
    os._exit(0)


def _reap():
    """Wait for the supervisors that have ended, so that their processor time is the client's."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _supervise(connection):
    """Fork the program, tell its process number and its exit status, and end; the program returns its request."""
    size, outputs, _, _ = socket.recv_fds(connection, 4, 2)
    text = b""
    while len(text) < struct.unpack("!I", size)[0]:
        text += connection.recv(1 << 16)
    ready, go = os.pipe()
    pid = os.fork()
    if pid:
        os.read(ready, 1)  # the program has a session of its own before anybody may kill it
        with suppress(BrokenPipeError):
            connection.sendall(struct.pack("!i", pid))
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            connection.sendall(struct.pack("!i", status))
        os._exit(0)
    os.setsid()
    for target, output in zip((1, 2), outputs, strict=True):
        os.dup2(output, target)
        os.close(output)
    connection.close()
    os.write(go, b"1")
    os.close(go)
    os.close(ready)
    return json.loads(text)


def _run(program):
    """Run a program and end as Python would, but without taking the loaded libraries apart one by one."""
    os.chdir(program["cwd"])
    os.environ.clear()
    os.environ.update(program["env"])
    if program["max_file_bytes"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (program["max_file_bytes"],) * 2)
    sys.argv = ["-c", *program["arguments"]]
    sys.path[0] = ""
    status = 0
    try:
        exec(compile(program["code"], "<program>", "exec"), {"__name__": "__main__"})
    except SystemExit as stop:
        status = stop.code or 0
        if not isinstance(status, int):
            sys.stderr.write(f"{status}\n")
            status = 1
    except BaseException as error:
        traceback.print_exc()
        status = 130 if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _stand_for(*sys.argv[1:])
    for name in _LOADED:
        importlib.import_module(name)
    n_threads = len(list(Path("/proc/self/task").iterdir()))
    assert n_threads == 1, f"{n_threads} threads would not survive a fork"
    gc.collect()
    gc.freeze()  # a collection in a program would copy every page that it shares with the server
    _run(_serve(sys.argv[1]))
