/* test_disk.c: the disks against the contract of storage/disk.h, and what those of a file refuse.
 *
 * Files go to a folder made below THOLE_TEST_DIR, or below the current one; where its filesystem
 * cannot hold a log the tests are skipped (77) and say so.
 */
#define _GNU_SOURCE
#include "engine/base/limits.h"
#include "engine/base/prng.h"
#include "storage/disk_lock.h"
#include "storage/disk_memory.h"
#include "storage/disk_posix.h"
#include "storage/disk_uring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGES        256u
#define DISK_BYTES   (PAGES * PAGE_BYTES)
#define REGION_BYTES (4u * DISK_BYTES)
#define SEED         7u
#define WAIT_MS      10000 /* Longer than any disk: a lost wakeup fails, a slow disk does not. */
#define SKIPPED      77
#define CHILD_FAILED 99

static char folder[256];
static char path[320];
static struct mem mem;
static uint8_t *pages; /* Two images of the disk. */

enum kind { KIND_MEMORY, KIND_URING, KIND_URING_UNREGISTERED, KIND_POSIX };

static const enum kind file_kinds[] = {KIND_URING, KIND_POSIX};
#define FILE_KINDS 2u

static int
disk_open(struct disk **disk, enum kind kind, enum disk_access access, struct fault *fault)
{
    if (kind == KIND_POSIX) {
        struct disk_posix_config config = {.path = path, .access = access};
        return disk_posix_open(disk, &mem, &config, fault);
    }
    struct disk_uring_config config = {
        .path = path,
        .access = access,
        .region = kind == KIND_URING ? mem.base : NULL,
        .region_bytes = mem.bytes,
    };
    return disk_uring_open(disk, &mem, &config, fault);
}

static struct disk *disk_make(enum kind kind)
{
    assert_int_equal(mem_open(&mem, REGION_BYTES), 0);
    pages = mem_take(&mem, "pages", 2 * PAGES, PAGE_BYTES, PAGE_BYTES);
    if (kind == KIND_MEMORY) {
        return disk_memory_open(&mem, DISK_BYTES);
    }
    struct fault fault = {0};
    (void)unlink(path);
    if (disk_uring_create(path, DISK_BYTES, &fault) != 0) {
        fail_msg("%s", fault.text);
    }
    struct disk *disk = NULL;
    if (disk_open(&disk, kind, DISK_ACCESS_WRITE, &fault) != 0) {
        fail_msg("%s", fault.text);
    }
    assert_true(disk->durable);
    assert_int_equal(disk->posix, kind == KIND_POSIX);
    return disk;
}

static void disk_end(struct disk *disk)
{
    disk_close(disk);
    mem_close(&mem);
    (void)unlink(path);
}

static void disk_wait(const struct disk *disk)
{
    struct pollfd waited = {.fd = disk_wait_fd(disk), .events = POLLIN};
    if (waited.fd >= 0) {
        assert_int_equal(poll(&waited, 1, WAIT_MS), 1);
    }
}

/* Await `count` completions, every cookie below `count` exactly once. */
static void drain(struct disk *disk, uint32_t count)
{
    bool seen[PAGES] = {false};
    uint32_t left = count;
    while (left > 0) {
        struct disk_done done[5];
        uint32_t taken = disk_poll(disk, done, 5);
        for (uint32_t i = 0; i < taken; i++) {
            assert_int_equal(done[i].result, 0);
            assert_true(done[i].cookie < count);
            assert_false(seen[done[i].cookie]);
            seen[done[i].cookie] = true;
        }
        left -= taken;
        if (taken == 0) {
            disk_wait(disk);
        }
    }
    assert_int_equal(disk->in_flight, 0);
}

/* Write disjoint ranges of 1 to 4 pages in shuffled order, a queue full at a time. */
static void disjoint_writes(struct disk *disk, struct prng *prng)
{
    struct disk_io ios[PAGES];
    uint32_t count = 0;
    for (uint32_t page = 0; page < PAGES;) {
        uint32_t run = (uint32_t)prng_between(prng, 1, 4);
        run = page + run > PAGES ? PAGES - page : run;
        uint64_t offset = (uint64_t)page * PAGE_BYTES;
        ios[count++] = (struct disk_io){
            .op = DISK_WRITE,
            .bytes = run * PAGE_BYTES,
            .offset = offset,
            .buffer = pages + offset,
        };
        page += run;
    }
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = (uint32_t)prng_below(prng, i);
        struct disk_io swapped = ios[i - 1];
        ios[i - 1] = ios[other];
        ios[other] = swapped;
    }
    for (uint32_t first = 0; first < count; first += DISK_QUEUE_MAX) {
        uint32_t batch = count - first < DISK_QUEUE_MAX ? count - first : DISK_QUEUE_MAX;
        for (uint32_t i = 0; i < batch; i++) {
            ios[first + i].cookie = i;
        }
        assert_int_equal(disk_submit(disk, ios + first, batch), batch);
        drain(disk, batch);
    }
}

static void writes_are_read_back(enum kind kind)
{
    struct disk *disk = disk_make(kind);
    struct prng prng;
    prng_init(&prng, SEED);
    print_message("seed %u, registered %d\n", SEED, disk->registered);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < DISK_BYTES; i += 8) {
            uint64_t word = prng_next(&prng);
            memcpy(pages + i, &word, 8);
        }
        disjoint_writes(disk, &prng);
        uint8_t *image = pages + DISK_BYTES;
        memset(image, 0, DISK_BYTES);
        struct disk_io read = {.op = DISK_READ, .bytes = DISK_BYTES, .buffer = image};
        assert_int_equal(disk_transfer(disk, &read), 0);
        assert_memory_equal(image, pages, DISK_BYTES);
    }
    disk_end(disk);
}

static void memory_disk_reads_back_disjoint_writes(void **state)
{
    (void)state;
    writes_are_read_back(KIND_MEMORY);
}

static void uring_disk_reads_back_disjoint_writes(void **state)
{
    (void)state;
    writes_are_read_back(KIND_URING);
}

static void uring_disk_works_with_buffers_that_are_not_registered(void **state)
{
    (void)state;
    writes_are_read_back(KIND_URING_UNREGISTERED);
}

static void posix_disk_reads_back_disjoint_writes(void **state)
{
    (void)state;
    writes_are_read_back(KIND_POSIX);
}

static void memory_disk_is_not_durable_and_completes_at_the_next_poll(void **state)
{
    (void)state;
    struct disk *disk = disk_make(KIND_MEMORY);
    assert_false(disk->durable);
    assert_int_equal(disk_wait_fd(disk), -1);
    struct disk_io write = {.op = DISK_WRITE, .bytes = PAGE_BYTES, .buffer = pages, .cookie = 9};
    assert_int_equal(disk_submit(disk, &write, 1), 1);
    assert_int_equal(disk->in_flight, 1);
    struct disk_done done = {0};
    assert_int_equal(disk_poll(disk, &done, 1), 1);
    assert_int_equal(done.cookie, 9);
    disk_end(disk);
}

static void is_there_after_reopening(enum kind kind, enum kind reader)
{
    struct disk *disk = disk_make(kind);
    memset(pages, 0x5a, PAGE_BYTES);
    struct disk_io io = {
        .op = DISK_WRITE, .bytes = PAGE_BYTES, .offset = 3 * PAGE_BYTES, .buffer = pages};
    assert_int_equal(disk_transfer(disk, &io), 0);
    disk_close(disk);

    struct fault fault = {0};
    assert_int_equal(disk_open(&disk, reader, DISK_ACCESS_READ, &fault), 0);
    assert_true(disk->bytes == DISK_BYTES);
    io.op = DISK_READ;
    io.buffer = pages + DISK_BYTES;
    assert_int_equal(disk_transfer(disk, &io), 0);
    assert_memory_equal(pages + DISK_BYTES, pages, PAGE_BYTES);
    disk_end(disk);
}

static void what_was_written_is_there_after_reopening_by_either_disk(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < FILE_KINDS * FILE_KINDS; i++) {
        is_there_after_reopening(file_kinds[i / FILE_KINDS], file_kinds[i % FILE_KINDS]);
    }
}

static void a_created_file_is_zero_and_fully_allocated(void **state)
{
    (void)state;
    struct disk *disk = disk_make(KIND_URING);
    memset(pages, 0xff, DISK_BYTES);
    struct disk_io read = {.op = DISK_READ, .bytes = DISK_BYTES, .buffer = pages};
    assert_int_equal(disk_transfer(disk, &read), 0);
    assert_memory_equal(pages, pages + DISK_BYTES, DISK_BYTES);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, DISK_BYTES);
    assert_true((uint64_t)status.st_blocks * 512 >= DISK_BYTES);
    disk_end(disk);
}

static void short_read_of(enum kind kind)
{
    struct disk *disk = disk_make(kind);
    assert_int_equal(truncate(path, DISK_BYTES / 2), 0); /* Behind its back. */
    struct disk_io read = {.op = DISK_READ, .bytes = DISK_BYTES, .buffer = pages};
    assert_int_equal(disk_transfer(disk, &read), -EIO);
    disk_end(disk);
}

static void a_short_read_is_an_io_error(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < FILE_KINDS; i++) {
        short_read_of(file_kinds[i]);
    }
}

static void failed_write_of(enum kind kind)
{
    struct disk *disk = disk_make(kind);
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    struct rlimit small = {.rlim_cur = DISK_BYTES / 2, .rlim_max = limit.rlim_max};
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct disk_io write = {
        .op = DISK_WRITE, .bytes = PAGE_BYTES, .offset = DISK_BYTES / 2, .buffer = pages};
    int failed = disk_transfer(disk, &write);
    write.offset -= PAGE_BYTES;
    write.bytes = 2 * PAGE_BYTES;
    int shortened = disk_transfer(disk, &write);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    (void)signal(SIGXFSZ, before);
    assert_true(failed < 0);
    assert_int_equal(shortened, -EIO);
    assert_int_equal(disk->in_flight, 0);
    disk_end(disk);
}

static void a_failed_write_is_reported_once(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < FILE_KINDS; i++) {
        failed_write_of(file_kinds[i]);
    }
}

static void descriptor_of(enum kind kind)
{
    struct disk *disk = disk_make(kind);
    struct pollfd waited = {.fd = disk_wait_fd(disk), .events = POLLIN};
    assert_true(waited.fd >= 0);
    for (uint32_t round = 0; round < 50; round++) {
        assert_int_equal(poll(&waited, 1, 0), 0);
        struct disk_io write = {.op = DISK_WRITE,
                                .bytes = PAGE_BYTES,
                                .offset = (uint64_t)round * PAGE_BYTES,
                                .buffer = pages,
                                .cookie = 0};
        assert_int_equal(disk_submit(disk, &write, 1), 1);
        assert_int_equal(poll(&waited, 1, WAIT_MS), 1);
        struct disk_done done = {0};
        assert_int_equal(disk_poll(disk, &done, 1), 1);
        assert_int_equal(done.result, 0);
    }
    disk_end(disk);
}

static void the_descriptor_wakes_a_waiter(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < FILE_KINDS; i++) {
        descriptor_of(file_kinds[i]);
    }
}

static void *open_and_write(void *argument)
{
    struct disk *disk = argument;
    struct disk_io write = {.op = DISK_WRITE, .bytes = PAGE_BYTES, .buffer = pages};
    int result = disk_transfer(disk, &write);
    return result == 0 ? disk : NULL;
}

static void other_thread_of(enum kind kind)
{
    struct disk *disk = disk_make(kind);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, open_and_write, disk), 0);
    void *result;
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, disk);
    disk_end(disk); /* Closed by the opener again. */
}

static void another_thread_than_the_opener_may_own_the_disk(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < FILE_KINDS; i++) {
        other_thread_of(file_kinds[i]);
    }
}

static void requests_asserted_of(enum kind kind)
{
    struct disk *disk = disk_make(kind);
    struct disk_io good = {.op = DISK_READ, .bytes = PAGE_BYTES, .buffer = pages};
    struct disk_io bad[5] = {good, good, good, good, good};
    bad[0].offset = DISK_BYTES;
    bad[1].offset = 512;
    bad[2].bytes = 512;
    bad[3].bytes = 0;
    bad[4].buffer = pages + 8;
    for (uint32_t i = 0; i < 5; i++) {
        expect_assert_failure((void)disk_submit(disk, &bad[i], 1));
    }
    disk_end(disk);
}

static void requests_outside_the_file_or_unaligned_are_asserted(void **state)
{
    (void)state;
    requests_asserted_of(KIND_MEMORY);
    requests_asserted_of(KIND_POSIX);
}

/* ---- What is refused ---- */

/* Open by either disk and expect to be refused alike; returns the error and prints what the user
 * would read. */
static int refused(const struct disk_uring_config *config, const char *word)
{
    int results[FILE_KINDS];
    for (uint32_t i = 0; i < FILE_KINDS; i++) {
        assert_int_equal(mem_open(&mem, REGION_BYTES), 0);
        struct disk *disk = NULL;
        struct fault fault = {0};
        struct disk_posix_config posix = {.path = config->path, .access = config->access};
        results[i] = file_kinds[i] == KIND_POSIX ? disk_posix_open(&disk, &mem, &posix, &fault)
                                                 : disk_uring_open(&disk, &mem, config, &fault);
        print_message("%s\n", fault.text);
        assert_null(disk);
        assert_int_equal(fault.code, FAULT_ENVIRONMENT);
        assert_non_null(strstr(fault.text, word));
        mem_close(&mem);
    }
    assert_int_equal(results[0], results[1]);
    return results[0];
}

static void a_missing_file_names_the_format_command(void **state)
{
    (void)state;
    (void)unlink(path);
    struct disk_uring_config config = {.path = path};
    assert_int_equal(refused(&config, "thole format"), -ENOENT);
}

static void an_empty_file_is_refused(void **state)
{
    (void)state;
    int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    struct disk_uring_config config = {.path = path};
    assert_int_equal(refused(&config, "holds no log"), -EINVAL);
    (void)unlink(path);
}

static void a_folder_is_refused(void **state)
{
    (void)state;
    struct disk_uring_config config = {.path = folder, .access = DISK_ACCESS_READ};
    assert_true(refused(&config, "is a folder") < 0);
    config.access = DISK_ACCESS_WRITE;
    assert_true(refused(&config, "is a folder") < 0);
}

static void a_locked_file_is_refused_and_a_verifier_may_read_it(void **state)
{
    (void)state;
    struct disk *disk = disk_make(KIND_URING);
    struct mem kept = mem;
    struct disk_uring_config config = {.path = path};
    assert_int_equal(refused(&config, "locked"), -EBUSY);
    config.access = DISK_ACCESS_READ;
    assert_int_equal(refused(&config, "locked"), -EBUSY);

    config.access = DISK_ACCESS_READ_SHARED;
    assert_int_equal(mem_open(&mem, REGION_BYTES), 0);
    struct disk *reader = NULL;
    struct fault fault = {0};
    assert_int_equal(disk_uring_open(&reader, &mem, &config, &fault), 0);
    disk_close(reader);
    mem_close(&mem);
    mem = kept;
    disk_end(disk);
}

static void who_writes_to_a_file_is_found_and_who_only_reads_is_not(void **state)
{
    (void)state;
    struct disk *disk = disk_make(KIND_URING);
    struct disk_lock_owner owner;
    assert_true(disk_lock_owner_find(path, &owner));
    assert_int_equal(owner.pid, getpid());
    assert_false(owner.stopped);
    disk_end(disk);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_false(disk_lock_owner_find(path, &owner));
    assert_int_equal(flock(fd, LOCK_SH), 0);
    assert_false(disk_lock_owner_find(path, &owner));
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_true(disk_lock_owner_find(path, &owner));
    (void)close(fd);
    (void)unlink(path);
    assert_false(disk_lock_owner_find("nowhere", &owner));
}

/* A log that a child has open, and so keeps its lock, for `hold_ms`; taken by this process, which
 * lives, or by one that is gone. Then this process opens it. */
static void open_after_a_lock(bool gone, uint32_t hold_ms)
{
    disk_end(disk_make(KIND_URING));
    struct fault fault = {0};
    assert_int_equal(disk_uring_create(path, DISK_BYTES, &fault), 0);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    pid_t locker = gone ? fork() : 0;
    if (locker == 0) {
        int result = flock(fd, LOCK_EX);
        if (gone) {
            _exit(result == 0 ? 0 : CHILD_FAILED);
        }
        assert_int_equal(result, 0);
    } else {
        int status = 0;
        assert_int_equal(waitpid(locker, &status, 0), locker);
        assert_int_equal(status, 0);
    }
    pid_t keeper = fork();
    if (keeper == 0) {
        struct timespec hold = {.tv_sec = hold_ms / 1000, .tv_nsec = hold_ms % 1000 * 1000000};
        _exit(nanosleep(&hold, NULL) == 0 ? 0 : CHILD_FAILED);
    }
    (void)close(fd);
    assert_int_equal(mem_open(&mem, REGION_BYTES), 0);
    struct disk *disk = NULL;
    struct disk_uring_config config = {.path = path};
    assert_int_equal(disk_uring_open(&disk, &mem, &config, &fault), 0);
    int status = 0;
    assert_int_equal(waitpid(keeper, &status, 0), keeper);
    assert_int_equal(status, 0);
    disk_end(disk);
}

static void a_lock_let_go_a_moment_later_is_waited_for(void **state)
{
    (void)state;
    open_after_a_lock(false, DISK_LOCK_WAIT_NS / 1000000);
}

/* As the kernel keeps it for the writes of a killed node: longer than for a process that lives. */
static void a_lock_of_a_process_that_is_gone_is_waited_for_longer(void **state)
{
    (void)state;
    open_after_a_lock(true, (uint32_t)(3ull * DISK_LOCK_TRIES * DISK_LOCK_WAIT_NS / 1000000));
}

static void memory_filesystems_are_refused_by_name(void **state)
{
    (void)state;
    struct fault fault = {0};
    const char *shm = "/dev/shm/thole_test_disk";
    if (access("/dev/shm", W_OK) != 0) {
        skip();
    }
    int result = disk_uring_create(shm, DISK_BYTES, &fault);
    print_message("%s\n", fault.text);
    assert_int_equal(result, -EOPNOTSUPP);
    assert_non_null(strstr(fault.text, "tmpfs"));
    assert_int_not_equal(access(shm, F_OK), 0);

    int fd = open(shm, O_CREAT | O_RDWR, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, DISK_BYTES), 0);
    (void)close(fd);
    struct disk_uring_config config = {.path = shm};
    int refusal = refused(&config, "tmpfs");
    (void)unlink(shm);
    assert_int_equal(refusal, -EOPNOTSUPP);
}

static void a_filesystem_without_direct_io_is_refused(void **state)
{
    (void)state;
    struct disk_uring_config config = {.path = "/proc/version", .access = DISK_ACCESS_READ};
    assert_int_equal(refused(&config, "O_DIRECT"), -EINVAL);
}

static void creating_refuses_an_existing_file_and_too_little_space(void **state)
{
    (void)state;
    struct fault fault = {0};
    (void)unlink(path);
    assert_int_equal(disk_uring_create(path, DISK_BYTES, &fault), 0);
    assert_int_equal(disk_uring_create(path, DISK_BYTES, &fault), -EEXIST);
    print_message("%s\n", fault.text);
    (void)unlink(path);
    assert_int_equal(disk_uring_create(path, 1ull << 50, &fault), -ENOSPC);
    print_message("%s\n", fault.text);
    assert_non_null(strstr(fault.text, "too little space"));
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(disk_uring_create("/no/such/folder/log", DISK_BYTES, &fault), -ENOENT);
}

/* In a child: forbid io_uring_setup, then open; the disk that does without works all the same. */
static _Noreturn void forbidden_open(int error, int out)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0 ||
        mem_open(&mem, REGION_BYTES) != 0) {
        _exit(CHILD_FAILED);
    }
    pages = mem_take(&mem, "pages", 1, PAGE_BYTES, PAGE_BYTES);
    struct disk *disk = NULL;
    struct fault fault = {0};
    struct disk_uring_config config = {.path = path};
    int result = disk_uring_open(&disk, &mem, &config, &fault);
    ssize_t written = write(out, fault.text, strlen(fault.text));
    bool told = result == -error && fault.code == FAULT_ENVIRONMENT && written > 0;
    struct disk_io write_one = {.op = DISK_WRITE, .bytes = PAGE_BYTES, .buffer = pages};
    bool other_works = disk_open(&disk, KIND_POSIX, DISK_ACCESS_WRITE, &fault) == 0 &&
                       disk_transfer(disk, &write_one) == 0;
    _exit(told && other_works ? 0 : CHILD_FAILED);
}

static void without_io_uring_the_reason_and_the_mend_are_named(void **state)
{
    (void)state;
    static const int errors[] = {ENOSYS, EPERM};
    (void)unlink(path);
    struct fault fault = {0};
    assert_int_equal(disk_uring_create(path, DISK_BYTES, &fault), 0);
    for (uint32_t i = 0; i < 2; i++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t pid = fork();
        if (pid == 0) {
            forbidden_open(errors[i], ends[1]);
        }
        (void)close(ends[1]);
        char text[FAULT_TEXT_BYTES] = {0};
        assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
        (void)close(ends[0]);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        print_message("%s\n", text);
        assert_int_equal(status, 0);
        assert_non_null(strstr(text, "io_uring"));
        assert_non_null(strstr(text, "seccomp"));
    }
    (void)unlink(path);
}

static bool folder_make(void)
{
    const char *base = getenv("THOLE_TEST_DIR");
    (void)snprintf(folder, sizeof(folder), "%s/test_disk_XXXXXX", base == NULL ? "." : base);
    if (mkdtemp(folder) == NULL) {
        print_message("skipped: cannot make a folder at %s\n", folder);
        return false;
    }
    (void)snprintf(path, sizeof(path), "%s/log", folder);
    struct fault fault = {0};
    if (disk_uring_create(path, DISK_BYTES, &fault) != 0) {
        print_message("skipped: %s (set THOLE_TEST_DIR)\n", fault.text);
        (void)rmdir(folder);
        return false;
    }
    return true;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_disk_reads_back_disjoint_writes),
        cmocka_unit_test(memory_disk_is_not_durable_and_completes_at_the_next_poll),
        cmocka_unit_test(requests_outside_the_file_or_unaligned_are_asserted),
        cmocka_unit_test(uring_disk_reads_back_disjoint_writes),
        cmocka_unit_test(uring_disk_works_with_buffers_that_are_not_registered),
        cmocka_unit_test(posix_disk_reads_back_disjoint_writes),
        cmocka_unit_test(what_was_written_is_there_after_reopening_by_either_disk),
        cmocka_unit_test(a_created_file_is_zero_and_fully_allocated),
        cmocka_unit_test(a_short_read_is_an_io_error),
        cmocka_unit_test(a_failed_write_is_reported_once),
        cmocka_unit_test(the_descriptor_wakes_a_waiter),
        cmocka_unit_test(another_thread_than_the_opener_may_own_the_disk),
        cmocka_unit_test(a_missing_file_names_the_format_command),
        cmocka_unit_test(an_empty_file_is_refused),
        cmocka_unit_test(a_folder_is_refused),
        cmocka_unit_test(a_locked_file_is_refused_and_a_verifier_may_read_it),
        cmocka_unit_test(who_writes_to_a_file_is_found_and_who_only_reads_is_not),
        cmocka_unit_test(a_lock_let_go_a_moment_later_is_waited_for),
        cmocka_unit_test(a_lock_of_a_process_that_is_gone_is_waited_for_longer),
        cmocka_unit_test(memory_filesystems_are_refused_by_name),
        cmocka_unit_test(a_filesystem_without_direct_io_is_refused),
        cmocka_unit_test(creating_refuses_an_existing_file_and_too_little_space),
        cmocka_unit_test(without_io_uring_the_reason_and_the_mend_are_named),
    };
    if (!folder_make()) {
        return SKIPPED;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    (void)rmdir(folder);
    return failed;
}
