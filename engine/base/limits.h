/* limits.h: every compile-time bound of the system, and how the bounds depend on each other.
 *
 * Nothing in the program may grow past a number in this file. A limit that depends on another is
 * tied to it by a static assert, so that changing one breaks the build and not the cluster. What is
 * chosen at start (log size, memory, rates) is bounded here too.
 */
#ifndef ENGINE_BASE_LIMITS_H
#define ENGINE_BASE_LIMITS_H

/* Pages. The unit of the disk, of checksums and of positions. */
#define PAGE_BYTES 4096u
#define PAGE_SHIFT 12u

/* An entry is one batch, one log index, one record on disk: 1 to 16 pages. */
#define ENTRY_PAGES_MAX    16u
#define ENTRY_BYTES_MAX    (ENTRY_PAGES_MAX * PAGE_BYTES)
#define NODE_HEADER_BYTES  64u /* This node's own header, first in the first page. */
#define ENTRY_HEADER_BYTES 96u /* The leader's header, the same on every node. */
#define PAGE_MARK_BYTES    16u /* Last in every page. */
#define ENTRY_BODY_OFFSET  (NODE_HEADER_BYTES + ENTRY_HEADER_BYTES)

/* Client records within an entry's body. */
#define RECORD_BYTES_MAX    60000u
#define RECORD_HEADER_BYTES 24u
#define ENTRY_RECORDS_MAX   2720u /* ENTRY_BYTES_MAX over the smallest record, header alone. */

/* Nodes. Ids are 1 to 63, so that a set of nodes is one word. */
#define NODE_ID_MAX 63u
#define VOTERS_MAX  7u
#define NODES_MAX   16u /* Voters and learners of one configuration. */
#define PEERS_MAX   (NODES_MAX - 1u)

/* Raft. */
#define TERM_RUNS_MAX     4096u /* index -> term runs kept in memory; the oldest are dropped. */
#define TERM_JUMP_MAX     (1ull << 32) /* A message may not raise the term by more (rule A11). */
#define UNCOMMITTED_MIN   2u           /* K of the commit gate, lowest and highest. */
#define UNCOMMITTED_MAX   8u
#define EFFECTS_BATCH_MAX 64u

/* Hosts of a lab (engine/lab/lab.h), and what a tool that it runs may print. */
#define LAB_HOSTS_MAX  32u
#define LAB_TEXT_BYTES 262144u

/* Frames. A frame is the payload of one UDP datagram. */
#define FRAME_BYTES_MAX       8192u
#define FRAME_BYTES_MIN       96u
#define FRAME_BYTES_USUAL     1472u /* Of an MTU of 1500: what is sent to a peer unasked. */
#define FRAGMENTS_MAX         64u   /* Of one entry; a bitmap is one word. */
#define FRAGMENT_BYTES_MIN    1024u
#define ENTRY_FRAME_BYTES_MIN 1184u /* With the smallest full fragment. */
#define RX_BURST_MAX          32u
#define TX_BURST_MAX          32u

/* Streams: what may be under way to one peer, or half received from it. */
#define STREAM_ENTRIES_MAX 256u /* Entries sent and not yet acknowledged as received. */
/* How long a hole may stay open before it is asked for: longer than a burst is reordered. */
#define STREAM_GAP_NS 20000u
/* A hole that was told, or repaired, is not told or repaired again before that can have arrived. */
#define STREAM_TELL_AGAIN_NS   1000000u
#define STREAM_REPAIR_AGAIN_NS 200000u
/* Bounds of the time after which a silent peer is polled. */
#define STREAM_POLL_MIN_NS 1000000u
#define STREAM_POLL_MAX_NS 50000000u
/* Larger frames are tried: when a session opens, and ever more seldom while they do not arrive. The
 * same fragments repaired so often in vain: frames of their size do not arrive any more. */
#define STREAM_PROBE_MIN_NS 10000000u
#define STREAM_PROBE_MAX_NS 1000000000u
#define STREAM_DOUBTS_MAX   4u
#define STREAM_PROBES_TOLD  5u /* In vain, before the operator is told. */
/* Fragments that one drain may send to one peer: bounds an iteration. */
#define STREAM_FRAGMENTS_PER_DRAIN 128u
/* One fetch from disk for a peer that is behind what memory holds. */
#define STREAM_FETCH_BYTES (2u * ENTRY_BYTES_MAX)
/* Catch-up: what a leader reads back from its disk for one peer, bytes a second. A loop that sleeps
 * too long may make up for so much of it. Commits that do not move for so long are waiting for
 * whoever catches up: then the rate would protect nothing. */
#define CATCHUP_BYTES_PER_S     (64ull << 20)
#define CATCHUP_BYTES_PER_S_MIN (1ull << 20)
#define CATCHUP_BYTES_PER_S_MAX (1ull << 40)
#define CATCHUP_SLACK_NS        10000000u
#define CATCHUP_HURRY_NS        10000000u
#define ASSEMBLY_MAX            256u /* Entries half received by a follower. */

/* Mending: a node whose log is damaged asks its peers, one entry and one of them at a time. After
 * so long without a fragment it asks the next one; when all were asked in vain it rests. */
#define MEND_ASK_NS  20000000u
#define MEND_REST_NS 200000000u
/* Questions answered in one iteration, and those of them that wait for the disk; further ones are
 * dropped: they come again. */
#define MEND_ANSWERS_MAX 2u
#define MEND_JOBS        2u
/* Between two lines about a log that is being mended. */
#define MEND_TELL_NS 1000000000u

/* Scrubbing: a running node reads its log again, so many bytes a second, and begins again so long
 * after it began last. Places known to be bad that wait for somebody who has the entry; each is
 * looked at again after so long. */
#define SCRUB_BYTES_PER_S     (4ull << 20)
#define SCRUB_BYTES_PER_S_MIN (64ull << 10)
#define SCRUB_BYTES_PER_S_MAX (1ull << 40)
#define SCRUB_EVERY_NS        3600000000000ull
#define SCRUB_EVERY_NS_MIN    10000000ull
#define SCRUB_EVERY_NS_MAX    (365ull * 24 * 3600 * 1000000000)
#define SCRUB_AGAIN_NS        1000000000u
#define SUSPECTS_MAX          32u

/* The log in memory. */
#define LOG_MEMORY_MIN    (2u * 1024u * 1024u)
#define LOG_MEMORY_MAX    (1024u * 1024u * 1024u)
#define LOG_RESERVE_BYTES (4u * ENTRY_BYTES_MAX) /* For no-op, configuration and trim. */
/* The end of the reserve is for a leader that trims: elections without one never use it up. */
#define LOG_TRIM_RESERVE_BYTES ENTRY_BYTES_MAX
/* A slot was wanted while a nic still read it: for so long nics copy what they send. */
#define LOG_PIN_PAUSE_NS 10000000u

/* The log on disk. */
#define SEGMENT_BYTES_MIN     (256u * 1024u)
#define SEGMENT_BYTES_DEFAULT (16u * 1024u * 1024u)
#define SEGMENT_BYTES_MAX     (1ull << 40)
#define SEGMENTS_MIN          4u
#define SEGMENTS_MAX          65536u
#define STATE_BYTES           65536u /* A copy of the small state of one segment boundary. */
#define STATE_COPIES          2u
#define WRITES_MAX            32u /* Log writes in flight on one disk. */
#define WRITE_BYTES_MAX       (1024u * 1024u)
/* The most bytes of the log whose writes may be in flight at once: the window above the end of the
 * log in which a power cut can leave pages of a torn write (docs/STORAGE.md, recovery). */
#define WRITE_WINDOW_BYTES (4u * 1024u * 1024u)
#define DISK_QUEUE_MAX     64u
#define WATERMARK_IDLE_NS  1000000u /* Idle time after which a watermark page is written. */

/* What a port does with what it did not ask for: the words that tell a wanted frame, the bursts
 * taken at once when they are full of others, and the answers to ARP, and to ping, in a time. */
#define NIC_ACCEPT_WORDS     4u
#define RX_BURSTS_MAX        8u
#define ENDPOINT_ANSWERS_MAX 2000u
#define ENDPOINT_ANSWERS_NS  100000000u

/* Ports and poll loops. */
#define NIC_ENDPOINTS_MAX  16u   /* Of one process's ring; net_ring has no more queues. */
#define NIC_RING_SLOTS     1024u /* Frames waiting at one endpoint, by default. */
#define NIC_RING_SLOTS_MAX 65536u
#define NIC_BUFFERS        3071u /* Of one endpoint; two full rings leave it a third. */
#define NIC_SOCKET_BYTES   (4u * 1024u * 1024u) /* Asked of the kernel for each way of a socket. */
#define PORT_BUFFERS       8191u /* Of one Ethernet port; AF_XDP's fill ring alone parks 2048. */
#define PORT_DESCRIPTORS   2048u /* Of each way of it. */
/* A body from here on stays where it is, where it can; a smaller one is copied. Measured, in ns a
 * frame copied and chained: 36 and 48 at 512 bytes, 49 and 49 at 1280, 99 and 49 at 3200. */
#define PORT_EXTERNAL_BYTES 1280u
#define PORT_HEAD_BYTES_MAX 256u /* Of a frame before such a body. */
#define PORT_CHAINS         255u /* Buffers for it where a driver frees them within its burst ... */
#define PORT_CHAINS_CARD    4095u /* ... and where they wait for a card. */
#define PORT_MTU_DEFAULT    1500u
#define PORT_MTU_MAX        9000u
#define PORT_LOOK_NS        100000000u /* Between looks at a port's link. */
#define PORT_PROBE_NS       60000000u  /* For each question whether an address is taken ... */
#define PORT_PROBES         2u         /* ... and how often it is asked, at start. */
#define NEIGHBOURS_MAX      1024u      /* MACs known on a segment: peers and clients. */
#define NEIGHBOUR_WAYS      8u
#define NEIGHBOUR_FRESH_NS  30000000000ull /* Unheard for longer, it is asked for again. */
#define NEIGHBOUR_ASK_NS    50000000u      /* Between questions for one address. */
#define CORE_SETS_MAX       2u  /* Of one poll loop: replicas, and a benchmark's floor. */
#define CORE_TASKS_MAX      16u /* Polled together by one loop. */
#define IDLE_FDS_MAX        32u
#define IDLE_SPIN_NS        50000u         /* Of empty polls before a wait. */
#define IDLE_NAP_NS         100000u        /* Longest nap where a port has no descriptor. */
#define IDLE_BUSY_NS        10000000u      /* Of `auto`: client work this young means yield. */
#define DISK_SLOW_NS_MAX    60000000000ull /* Longest delay of a disk that is slowed on request. */

/* A lock that is taken is asked for again: one of a process that lives not for long, one of a
 * process that is gone for as long as its writes may take. */
#define DISK_LOCK_WAIT_NS    50000000u /* Between two tries. */
#define DISK_LOCK_TRIES      5u
#define DISK_LOCK_TRIES_GONE 200u

/* Of the thread of a disk that does without io_uring. */
#define DISK_POSIX_STACK_BYTES (256u * 1024u)

/* A write that has not completed after this long never will: the node exits with its reason. */
#define DISK_DEAD_NS 10000000000ull
_Static_assert(1ull * DISK_LOCK_TRIES_GONE * DISK_LOCK_WAIT_NS >= DISK_DEAD_NS,
               "the writes of a process that is gone are waited for");

/* A capture of what passes through a port, and what a node tells of itself. */
#define CAPTURE_BUFFERS       2048u         /* Packets that wait for the capture's writer. */
#define CAPTURE_BYTES_DEFAULT (64ull << 20) /* Of its file. */
#define CAPTURE_BYTES_MIN     65536u
#define CAPTURE_BYTES_MAX     (1ull << 40)
#define CAPTURE_SNAP_MIN      64u /* Of a packet: its headers, and where a frame's begins. */
#define CAPTURE_SNAP_MAX      9216u
#define STATS_ITEMS_MAX       256u  /* Counters and facts of one node. */
#define STATS_BYTES_MAX       1024u /* Of items in one answer: one question causes no more. */
#define STATS_NAME_MAX        40u
#define STATS_TEXT_MAX        64u

/* Clients of one replica. */
#define CLIENT_RUNS_MAX     16384u /* Runs of requests waiting for their commit. */
#define CLIENT_STAGING_MAX  16u    /* Fragmented requests half received. */
#define READER_BUFFERS      4u     /* Reads that wait for the disk. */
#define READER_BUFFER_BYTES (2u * ENTRY_BYTES_MAX)
#define READ_ENTRIES_MAX    256u       /* That one answer takes its records from. */
#define READ_WAITS_MAX      64u        /* Reads that wait for a proof, or for something new. */
#define READ_HOLD_NS        100000000u /* The longest wait for something new. */
#define REQUEST_RECORDS_MAX 1024u      /* Records of one request frame. */

/* Sessions of clients. A session keeps where its newest records went, in runs, so that a repeated
 * request finds its old answer; a client has fewer requests under way than runs are kept. */
#define SESSIONS_MAX         256u
#define SESSION_NAME_MAX     40u
#define SESSION_RUNS_MAX     12u
#define SESSION_REQUESTS_MAX 8u
/* Records of sessions in one entry, and how far above what is committed an entry with some may lie:
 * together they bound what a replica must be able to take back. */
#define ENTRY_SESSION_RECORDS_MAX 1024u
#define UNCOMMITTED_CLIENT_MAX    16u

/* What one datagram may cause (docs/PROTOCOL.md): answers to a request, one for each run that its
 * session keeps and one for each end; and what one poll sends to one peer, fragments and each kind
 * of message and reply once. */
#define REQUEST_ANSWERS_MAX  (SESSION_RUNS_MAX + 2u)
#define PEER_FRAMES_PER_POLL (STREAM_FRAGMENTS_PER_DRAIN + 8u + MEND_ANSWERS_MAX * FRAGMENTS_MAX)

/* A client. */
#define CLIENT_OUTSTANDING_MAX (1u << 20) /* Records sent and without a fate. */
#define CLIENT_WINDOW_FACTOR   8u /* Sequences behind the newest that may wait, x outstanding. */
#define CLIENT_WINDOW_MIN      65536u
#define CLIENT_READ_TIMEOUT_NS 200000000u            /* Then another node may be asked. */
#define CLIENT_OFFSET_MAX      0x7fffffffffffffffull /* No record has it: a read of the end. */
#define FETCH_PAUSE_MIN_NS     1000000u  /* Between questions that bring nothing, at first ... */
#define FETCH_PAUSE_MAX_NS     32000000u /* ... and at most. */
/* A client's writer: what it holds, when it repeats what is not answered, at first, and how long it
 * pauses when nothing was taken. */
#define WRITER_RECORDS_MAX    65536u
#define WRITER_BYTES_MAX      (64u * 1024u * 1024u)
#define WRITER_FLIGHT_BYTES   (128u * 1024u) /* Under way, beyond the first request. */
#define WRITER_RETRY_FIRST_NS 50000000u
#define WRITER_RETRY_MIN_NS   10000000u
#define WRITER_RETRY_MAX_NS   200000000u
#define WRITER_PAUSE_MIN_NS   200000u
#define WRITER_PAUSE_MAX_NS   32000000u
#define WRITER_SILENCES_MAX   2u         /* In a row, before another node is asked. */
#define WRITER_IDLE_NS        100000000u /* Then a session without a name may have expired. */

/* The benchmark. */
#define LOAD_OUTSTANDING_MAX 65536u /* Records of a load under way. */
#define CLUSTER_SLOTS_MAX    8192u  /* Frames waiting at one port of a cluster in one process. */
#define CLUSTER_FRAMES_MAX   (CLUSTER_SLOTS_MAX / 2) /* Of a load; the rest is for the replicas. */
#define VERIFY_RUNS_MAX      65536u     /* Acknowledgements waiting for the disk's word. */
#define VERIFY_WINDOW        (1u << 20) /* Behind the newest, whose repetition is seen. */
#define FLOOR_DEPTH_MAX      8u         /* Writes in flight of `floor disk`. */
#define FLOOR_ECHOES_MAX     32u        /* Frames under way of `floor net`. */
#define BENCH_TAKINGS_MAX    16u        /* Of the client's memory: each may need aligning. */

_Static_assert((1u << PAGE_SHIFT) == PAGE_BYTES, "a page is a power of two");
_Static_assert(PAGE_BYTES / PAGE_MARK_BYTES > ENTRY_PAGES_MAX, "the page number fits the mark");
_Static_assert(ENTRY_BODY_OFFSET + RECORD_HEADER_BYTES + RECORD_BYTES_MAX +
                       ENTRY_PAGES_MAX * PAGE_MARK_BYTES <=
                   ENTRY_BYTES_MAX,
               "the largest record fits an entry of its own");
_Static_assert(FRAGMENTS_MAX *FRAGMENT_BYTES_MIN >= ENTRY_BYTES_MAX, "an entry fits its bitmap");
_Static_assert(ENTRY_RECORDS_MAX *RECORD_HEADER_BYTES <= ENTRY_BYTES_MAX, "records fit an entry");
_Static_assert((STREAM_ENTRIES_MAX & (STREAM_ENTRIES_MAX - 1)) == 0, "slot = index & (max - 1)");
_Static_assert((ASSEMBLY_MAX & (ASSEMBLY_MAX - 1)) == 0, "slot = index & (max - 1)");
_Static_assert(LOG_MEMORY_MIN >= 8 * ENTRY_BYTES_MAX, "the gate's entries and the reserve fit");
_Static_assert(2 * (UNCOMMITTED_MAX * ENTRY_BYTES_MAX + LOG_RESERVE_BYTES) <= LOG_MEMORY_MIN,
               "an inherited tail never locks the no-op out");
_Static_assert(LOG_TRIM_RESERVE_BYTES < LOG_RESERVE_BYTES, "elections have some of the reserve");
_Static_assert(SEGMENT_BYTES_MIN >= 2 * ENTRY_BYTES_MAX, "an entry crosses at most one boundary");
_Static_assert(WRITE_WINDOW_BYTES >= WRITE_BYTES_MAX, "one write fits the window");
_Static_assert(DISK_QUEUE_MAX >= WRITES_MAX, "every log write has a place in the queue");
_Static_assert((CLIENT_WINDOW_MIN & (CLIENT_WINDOW_MIN - 1)) == 0, "slot = sequence & (max - 1)");
_Static_assert((LOAD_OUTSTANDING_MAX & (LOAD_OUTSTANDING_MAX - 1)) == 0,
               "slot = number & (max - 1)");
_Static_assert((VERIFY_RUNS_MAX & (VERIFY_RUNS_MAX - 1)) == 0, "slot = number & (max - 1)");
_Static_assert(CLUSTER_FRAMES_MAX <= LOAD_OUTSTANDING_MAX, "a load fills no port");
_Static_assert(CLUSTER_SLOTS_MAX <= NIC_RING_SLOTS_MAX, "a port can be so large");
_Static_assert(SESSION_REQUESTS_MAX < SESSION_RUNS_MAX, "a repeated request finds its answer");
_Static_assert(UNCOMMITTED_CLIENT_MAX >= 2 * UNCOMMITTED_MAX,
               "a hand-over may seal beyond the gate");
_Static_assert(REQUEST_RECORDS_MAX <= ENTRY_SESSION_RECORDS_MAX, "a request fits an entry");
_Static_assert(2 * READ_HOLD_NS <= CLIENT_READ_TIMEOUT_NS, "who waits is answered in time");
_Static_assert(NODE_ID_MAX < 64, "a set of nodes is one 64-bit word");

#endif
