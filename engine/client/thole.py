"""thole.py: the client library of thole for Python, by ctypes over libthole.

    import thole

    with thole.Client("cluster.ini", session="billing") as log:
        offset = log.append(b"paid")                          # committed on a quorum of disks
        appends = [log.submit(b"line %d" % i) for i in range(1000)]
        log.flush()
        print(appends[-1].result())                           # an offset, or raises
        for record in log.read(linearizable=True):
            print(record.offset, record.data)
        for record in log.tail(10):                           # goes on with what is to come
            ...

Every append is committed at an offset, or `Refused` with its reason, or `Unknown` once the time
limit has passed; thole.h says what these mean and what is promised. A client is used by one thread
at a time. The library is looked for where the environment's THOLE_LIBRARY says, then as the
system's libthole.so.0.
"""
import collections
import ctypes
import errno
import os

NO_OFFSET = 2**64 - 1
START = 2**64 - 1
END = 2**64 - 2
OUTCOMES = ("committed", "refused", "unknown")
REASONS = ("none", "timed_out", "condition", "fenced", "expired", "full", "gap")
ROLES = ("follower", "candidate", "leader", "learner")
COMPLETIONS_AT_ONCE = 256
RECORDS_HELD_MAX = 4096  # Of a read whose iterator waits while others poll.
SESSION_WAIT_S = 30

Record = collections.namedtuple("Record", "offset term session sequence data")
Session = collections.namedtuple("Session", "id next epoch stopped")
Node = collections.namedtuple(
    "Node", "id address reachable role term commit_index durable_index start_offset end_offset "
            "durable degraded")
Status = collections.namedtuple("Status", "leader available nodes")


# ---- What thole.h declares ----

class _Completion(ctypes.Structure):
    _fields_ = [("tag", ctypes.c_uint64), ("sequence", ctypes.c_uint64),
                ("offset", ctypes.c_uint64), ("detail", ctypes.c_uint64),
                ("outcome", ctypes.c_int), ("reason", ctypes.c_int)]


class _Options(ctypes.Structure):
    _fields_ = [("config_path", ctypes.c_char_p), ("addresses", ctypes.c_char_p),
                ("cluster", ctypes.c_uint64), ("session", ctypes.c_char_p),
                ("memory_bytes", ctypes.c_uint64), ("timeout_ns", ctypes.c_uint64),
                ("records_max", ctypes.c_uint32), ("on_completion", ctypes.c_void_p),
                ("context", ctypes.c_void_p)]


class _Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("text", ctypes.c_char * 512)]


class _Session(ctypes.Structure):
    _fields_ = [("id", ctypes.c_uint64), ("next", ctypes.c_uint64), ("epoch", ctypes.c_uint32),
                ("stopped", ctypes.c_int)]


class _Record(ctypes.Structure):
    _fields_ = [("offset", ctypes.c_uint64), ("term", ctypes.c_uint64),
                ("session", ctypes.c_uint64), ("sequence", ctypes.c_uint64),
                ("data", ctypes.c_void_p), ("bytes", ctypes.c_uint32)]


_ON_RECORD = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.POINTER(_Record))


class _Read(ctypes.Structure):
    _fields_ = [("from_", ctypes.c_uint64), ("last", ctypes.c_uint64), ("count", ctypes.c_uint64),
                ("follow", ctypes.c_bool), ("linearizable", ctypes.c_bool),
                ("node", ctypes.c_uint8), ("on_record", _ON_RECORD), ("context", ctypes.c_void_p)]


class _Node(ctypes.Structure):
    _fields_ = [("address", ctypes.c_char * 24), ("term", ctypes.c_uint64),
                ("commit_index", ctypes.c_uint64), ("durable_index", ctypes.c_uint64),
                ("start_offset", ctypes.c_uint64), ("end_offset", ctypes.c_uint64),
                ("role", ctypes.c_int), ("id", ctypes.c_uint8), ("reachable", ctypes.c_bool),
                ("durable", ctypes.c_bool), ("degraded", ctypes.c_bool)]


class _Status(ctypes.Structure):
    _fields_ = [("node_count", ctypes.c_uint32), ("leader", ctypes.c_uint8),
                ("available", ctypes.c_bool), ("nodes", _Node * 16)]


STRUCTURES = {"thole_completion": _Completion, "thole_options": _Options, "thole_error": _Error,
              "thole_session": _Session, "thole_record": _Record, "thole_read": _Read,
              "thole_node": _Node, "thole_status": _Status}

_CLIENT = ctypes.c_void_p
_FUNCTIONS = {
    "thole_open": (_CLIENT, [ctypes.POINTER(_Options), ctypes.POINTER(_Error)]),
    "thole_close": (None, [_CLIENT]),
    "thole_append": (ctypes.c_int, [_CLIENT, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]),
    "thole_append_at": (ctypes.c_int, [_CLIENT, ctypes.c_char_p, ctypes.c_size_t,
                                       ctypes.c_uint64, ctypes.c_uint64]),
    "thole_poll": (ctypes.c_int, [_CLIENT, ctypes.c_int]),
    "thole_next": (ctypes.c_uint32, [_CLIENT, ctypes.POINTER(_Completion), ctypes.c_uint32]),
    "thole_pending": (ctypes.c_uint32, [_CLIENT]),
    "thole_fd": (ctypes.c_int, [_CLIENT]),
    "thole_timeout_ms": (ctypes.c_int, [_CLIENT]),
    "thole_connect": (ctypes.c_int, [_CLIENT, ctypes.c_int]),
    "thole_session": (None, [_CLIENT, ctypes.POINTER(_Session)]),
    "thole_set_first": (ctypes.c_int, [_CLIENT, ctypes.c_uint64]),
    "thole_reopen": (ctypes.c_int, [_CLIENT]),
    "thole_read_begin": (ctypes.c_int, [_CLIENT, ctypes.POINTER(_Read)]),
    "thole_reading": (ctypes.c_int, [_CLIENT]),
    "thole_read_stop": (None, [_CLIENT]),
    "thole_status": (ctypes.c_int, [_CLIENT, ctypes.POINTER(_Status), ctypes.c_int]),
    "thole_error_text": (ctypes.c_char_p, [_CLIENT]),
    "thole_version": (ctypes.c_char_p, []),
}


def _load():
    library = ctypes.CDLL(os.environ.get("THOLE_LIBRARY", "libthole.so.0"))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


_library = _load()


def version():
    """The version of the library."""
    return _library.thole_version().decode()


# ---- For users ----

class Error(OSError):
    """A call failed; errno and a text that says what mends it."""


class NotCommitted(Exception):
    """An append that is not known to be committed: `reason`, one of REASONS, and `detail`."""

    def __init__(self, outcome, reason, detail):
        super().__init__(f"{outcome}: {reason}" + (f", {detail}" if detail else ""))
        self.reason = reason
        self.detail = detail


class Refused(NotCommitted):
    """It is not in the log, and never will be. Of `condition`, `detail` is where the log ended."""


class Unknown(NotCommitted):
    """It was not answered in time: it is in the log once, or not at all."""


class Append:
    """A record on its way; result() waits for its outcome."""

    def __init__(self, client):
        self._client = client
        self.outcome = None  # One of OUTCOMES, once there is one.
        self.reason = "none"
        self.offset = None  # None: not committed, or so long ago that it is no longer known.
        self.sequence = 0
        self.detail = 0

    def done(self):
        return self.outcome is not None

    def result(self):
        """The offset; raises Refused or Unknown."""
        while not self.done():
            self._client.poll()
        if self.outcome == "committed":
            return self.offset
        raise (Refused if self.outcome == "refused" else Unknown)(
            self.outcome, self.reason, self.detail)

    def _settle(self, completion):
        self.outcome = OUTCOMES[completion.outcome]
        self.reason = REASONS[completion.reason]
        self.sequence = completion.sequence
        self.detail = completion.detail
        if self.outcome == "committed" and completion.offset != NO_OFFSET:
            self.offset = completion.offset


class Client:
    """A client of a cluster: by its configuration's path, or its id and "IP:PORT,IP:PORT,..."."""

    def __init__(self, config=None, *, addresses=None, cluster=0, session=None, memory_bytes=0,
                 timeout=0.0, records_max=0):
        options = _Options(
            config_path=None if config is None else os.fsencode(config),
            addresses=None if addresses is None else addresses.encode(), cluster=cluster,
            session=None if session is None else session.encode(), memory_bytes=memory_bytes,
            timeout_ns=int(timeout * 1e9), records_max=records_max)
        error = _Error()
        self._appends = {}
        self._tag = 0
        self._completions = (_Completion * COMPLETIONS_AT_ONCE)()
        self._handle = _library.thole_open(ctypes.byref(options), ctypes.byref(error))
        if not self._handle:
            raise Error(error.code, error.text.decode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """At once; appends without an outcome stay unknown."""
        if self._handle:
            _library.thole_close(self._handle)
            self._handle = None

    def _live(self):
        if not self._handle:
            raise ValueError("the client is closed")
        return self._handle

    def _check(self, result):
        if result < 0:
            raise Error(-result, _library.thole_error_text(self._live()).decode())
        return result

    def _take(self):
        """Settle what has come."""
        while True:
            count = _library.thole_next(self._live(), self._completions, COMPLETIONS_AT_ONCE)
            for completion in self._completions[:count]:
                self._appends.pop(completion.tag)._settle(completion)
            if count < COMPLETIONS_AT_ONCE:
                return

    def poll(self, timeout=None):
        """Send, receive and settle; wait for something to come, at most `timeout` seconds. True
        when something came."""
        result = _library.thole_poll(self._live(), -1 if timeout is None else int(timeout * 1000))
        self._take()
        return result != -errno.EINTR and self._check(result) > 0

    def submit(self, data, expect=None):
        """Queue a record and return its Append; waits only while too many are under way. With
        `expect`, it is appended if that will be its offset, and not otherwise."""
        self._tag += 1
        data = bytes(data)
        while True:
            if expect is None:
                result = _library.thole_append(self._live(), data, len(data), self._tag)
            else:
                result = _library.thole_append_at(self._live(), data, len(data), expect,
                                                  self._tag)
            if result != -errno.EAGAIN:
                break
            self.poll()
        self._check(result)
        append = Append(self)
        self._appends[self._tag] = append
        return append

    def append(self, data, expect=None):
        """Append a record; returns its offset when it is committed."""
        return self.submit(data, expect).result()

    @property
    def pending(self):
        """Appends without an outcome."""
        return len(self._appends)

    def flush(self):
        """Until every append has its outcome."""
        while self._appends:
            self.poll()

    def connect(self, timeout=SESSION_WAIT_S):
        """Open the session now; returns it. `next` - 1 is how many records it has."""
        self._check(_library.thole_connect(self._live(), int(timeout * 1000)))
        return self.session

    @property
    def session(self):
        found = _Session()
        _library.thole_session(self._live(), ctypes.byref(found))
        return Session(found.id, found.next, found.epoch, REASONS[found.stopped])

    def set_first(self, sequence):
        """Number the next append so, to repeat records whose fate is not known."""
        self._check(_library.thole_set_first(self._live(), sequence))

    def reopen(self):
        """Begin again after the session has stopped."""
        self._check(_library.thole_reopen(self._live()))

    def read(self, start=START, count=0, *, last=0, follow=False, linearizable=False, node=0):
        """An iterator of committed Records, in order, each once: from `start` (or `last` records
        before it) to the committed end, or `count` of them, or with `follow` without end. One read
        at a time; closing the iterator ends it."""
        records = collections.deque()
        position = start
        held = False

        def take(_, record):
            nonlocal position, held
            one = record.contents
            records.append(Record(one.offset, one.term, one.session, one.sequence,
                                  ctypes.string_at(one.data, one.bytes)))
            position = one.offset + 1
            held = len(records) >= RECORDS_HELD_MAX  # Enough; it goes on once these are taken.
            return not held

        callback = _ON_RECORD(take)  # Lives as long as the read.
        try:
            while True:
                held = False
                what = _Read(from_=position, last=last, count=count, follow=follow,
                             linearizable=linearizable, node=node, on_record=callback)
                self._check(_library.thole_read_begin(self._live(), ctypes.byref(what)))
                given = yield from self._records(records)
                if not held or given == count:
                    return
                last = 0
                count -= given if count > 0 else 0
        finally:
            if self._handle:
                _library.thole_read_stop(self._handle)

    def _records(self, records):
        """What comes of the read under way; returns how many there were."""
        given = 0
        while True:
            state = _library.thole_reading(self._live())
            while records:
                given += 1
                yield records.popleft()
            if state != -errno.EINPROGRESS:
                self._check(state)
                return given
            self.poll()

    def tail(self, last=10, **more):
        """The last records, and those to come."""
        return self.read(END, last=last, follow=True, **more)

    def status(self, timeout=1.0):
        """How every node stands."""
        found = _Status()
        self._check(_library.thole_status(self._live(), ctypes.byref(found), int(timeout * 1000)))
        nodes = [Node(node.id, node.address.decode(), node.reachable, ROLES[node.role], node.term,
                      node.commit_index, node.durable_index, node.start_offset, node.end_offset,
                      node.durable, node.degraded) for node in found.nodes[:found.node_count]]
        return Status(found.leader or None, found.available, nodes)

    def fileno(self):
        """For select() and event loops: poll(0) when it is readable, or wait_s() has passed."""
        return _library.thole_fd(self._live())

    def wait_s(self):
        """Until poll() has something to do even if nothing arrives; None: no need."""
        wait_ms = _library.thole_timeout_ms(self._live())
        return None if wait_ms < 0 else wait_ms / 1000
