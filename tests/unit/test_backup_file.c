/* test_backup_file.c: a backup is read only when it is whole: every byte of it, its end included,
 * is covered by a check, and what is refused is named with its position. And the id of a restore:
 * its text, and what it follows from. */
#include "engine/cli/backup_file.h"

#include "engine/base/crc.h"
#include "engine/cli/restore_id.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FIRST_OFFSET 7u
#define CLUSTER      0x9f3c0a4e5b6d7788u
#define FILE_BYTES   4096u

static const char *const payloads[] = {"one", "", "three, which is longer", "4"};
#define PAYLOADS (sizeof payloads / sizeof payloads[0])

static const struct backup_header whose = {
    .node = 2, .cluster = CLUSTER, .first_offset = FIRST_OFFSET, .end_offset = 7 + PAYLOADS};

/* A file of its own for each test, and the bytes of a whole backup. */
struct fixture {
    char path[64];
    uint8_t bytes[FILE_BYTES];
    uint32_t count;
};

static struct backup_reader reader; /* Large. */

static void write_bytes(const struct fixture *fixture, const uint8_t *bytes, uint32_t count)
{
    FILE *file = fopen(fixture->path, "wbe");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    static struct fixture fixture;
    strcpy(fixture.path, "/tmp/test_backup_file.XXXXXX");
    int fd = mkstemp(fixture.path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w+b");
    assert_non_null(file);
    struct backup_writer writer;
    backup_begin(&writer, file, &whose);
    for (uint32_t i = 0; i < PAYLOADS; i++) {
        backup_put(&writer, (const uint8_t *)payloads[i], (uint32_t)strlen(payloads[i]));
    }
    assert_int_equal(backup_end(&writer), 0);
    rewind(file);
    fixture.count = (uint32_t)fread(fixture.bytes, 1, sizeof fixture.bytes, file);
    assert_int_equal(fixture.count, writer.file_bytes);
    assert_int_equal(fclose(file), 0);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    const struct fixture *fixture = *state;
    return unlink(fixture->path);
}

/* Read to the end, or to what is wrong; how many records came. */
static uint32_t read_all(const char *path, struct fault *fault)
{
    uint32_t count = 0;
    *fault = (struct fault){0};
    if (backup_open(&reader, path, fault) != 0) {
        assert_null(reader.file);
        return 0;
    }
    while (backup_next(&reader, fault)) {
        count++;
    }
    backup_close(&reader);
    return count;
}

/* Where the refused file is said to be damaged. */
static uint64_t damage_at(const struct fault *fault)
{
    static const char words[] = "damaged at byte ";
    const char *at = strstr(fault->text, words);
    assert_int_equal(fault->code, FAULT_FAILED);
    assert_non_null(at);
    assert_non_null(strstr(fault->text, "thole backup")); /* What mends it. */
    return strtoull(at + strlen(words), NULL, 10);
}

static void what_was_written_is_read_again(void **state)
{
    const struct fixture *fixture = *state;
    struct fault fault = {0};
    assert_int_equal(backup_open(&reader, fixture->path, &fault), 0);
    assert_int_equal(reader.header.cluster, CLUSTER);
    assert_int_equal(reader.header.node, 2);
    for (uint32_t i = 0; i < PAYLOADS; i++) {
        assert_int_equal(reader.next_offset, FIRST_OFFSET + i);
        assert_true(backup_next(&reader, &fault));
        assert_int_equal(reader.bytes, strlen(payloads[i]));
        assert_memory_equal(reader.payload, payloads[i], reader.bytes);
    }
    assert_false(backup_next(&reader, &fault));
    assert_int_equal(fault.code, 0);
    assert_int_equal(reader.trailer.record_count, PAYLOADS);
    assert_int_equal(reader.trailer.file_bytes + sizeof reader.trailer, fixture->count);
    backup_close(&reader);
}

static void no_byte_can_change_unseen(void **state)
{
    struct fixture *fixture = *state;
    for (uint32_t at = 0; at < fixture->count; at++) {
        for (uint32_t bit = 0; bit < 8; bit++) {
            struct fault fault;
            fixture->bytes[at] ^= (uint8_t)(1u << bit);
            write_bytes(fixture, fixture->bytes, fixture->count);
            fixture->bytes[at] ^= (uint8_t)(1u << bit);
            uint32_t records = read_all(fixture->path, &fault);
            assert_true(damage_at(&fault) <= at);
            assert_true(records <= PAYLOADS);
        }
    }
}

static void a_file_cut_anywhere_is_refused_at_its_end(void **state)
{
    const struct fixture *fixture = *state;
    for (uint32_t count = 0; count < fixture->count; count++) {
        struct fault fault;
        write_bytes(fixture, fixture->bytes, count);
        (void)read_all(fixture->path, &fault);
        assert_int_equal(damage_at(&fault), count);
        assert_non_null(strstr(fault.text, "it ends there"));
    }
}

static void what_follows_the_trailer_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct fault fault;
    write_bytes(fixture, fixture->bytes, fixture->count + 1);
    assert_int_equal(read_all(fixture->path, &fault), PAYLOADS);
    assert_int_equal(damage_at(&fault), fixture->count);
    assert_non_null(strstr(fault.text, "it goes on behind its end"));
}

static void a_file_of_something_else_is_named_so(void **state)
{
    const struct fixture *fixture = *state;
    uint8_t text[200];
    struct fault fault;
    memset(text, 'x', sizeof text);
    write_bytes(fixture, text, sizeof text);
    assert_int_equal(read_all(fixture->path, &fault), 0);
    assert_int_equal(damage_at(&fault), 0);
    assert_non_null(strstr(fault.text, "no backup begins with such bytes"));
    fault = (struct fault){0};
    assert_int_equal(backup_open(&reader, "/nowhere/x.bak", &fault), FAULT_ENVIRONMENT);
    assert_non_null(strstr(fault.text, "/nowhere/x.bak"));
    fault = (struct fault){0};
    assert_int_equal(backup_open(&reader, "/tmp", &fault), FAULT_ENVIRONMENT); /* A folder. */
}

static void header_seal(struct fixture *fixture, const struct backup_header *header)
{
    uint32_t crc = crc32c(0, header, sizeof *header - 4);
    memcpy(fixture->bytes, header, sizeof *header);
    memcpy(fixture->bytes + sizeof *header - 4, &crc, sizeof crc);
    write_bytes(fixture, fixture->bytes, fixture->count);
}

static void another_version_is_named_and_is_no_damage(void **state)
{
    struct fixture *fixture = *state;
    struct backup_header header;
    struct fault fault;
    memcpy(&header, fixture->bytes, sizeof header);
    header.version = BACKUP_VERSION + 1;
    header.more[0] = 1; /* Which may have more to say. */
    header_seal(fixture, &header);
    (void)read_all(fixture->path, &fault);
    assert_int_equal(fault.code, FAULT_ENVIRONMENT);
    assert_non_null(strstr(fault.text, "format 2"));
    assert_non_null(strstr(fault.text, "format 1"));
}

static void numbers_that_cannot_be_are_refused_under_a_good_checksum(void **state)
{
    struct fixture *fixture = *state;
    struct backup_header good;
    memcpy(&good, fixture->bytes, sizeof good);
    struct backup_header bad[7];
    for (uint32_t i = 0; i < 7; i++) {
        bad[i] = good;
    }
    bad[0].node = 0;
    bad[1].node = NODE_ID_MAX + 1;
    bad[2].cluster = 0;
    bad[3].end_offset = good.first_offset - 1;
    bad[4].end_offset = BACKUP_OFFSET_LIMIT;
    bad[5].reserved[4] = 1;
    bad[6].more[19] = 1;
    for (uint32_t i = 0; i < 7; i++) {
        struct fault fault;
        header_seal(fixture, &bad[i]);
        assert_int_equal(read_all(fixture->path, &fault), 0);
        assert_int_equal(damage_at(&fault), 0);
    }
    /* An end that was raised or lowered is found where the records contradict it. */
    for (int by = -1; by <= 1; by += 2) {
        struct fault fault;
        struct backup_header other = good;
        other.end_offset += (uint64_t)by;
        header_seal(fixture, &other);
        (void)read_all(fixture->path, &fault);
        assert_true(damage_at(&fault) >= sizeof good);
    }
}

static void a_failed_write_is_told_and_ends_the_backup(void **state)
{
    (void)state;
    FILE *full = fopen("/dev/full", "wbe");
    assert_non_null(full);
    struct backup_writer writer;
    backup_begin(&writer, full, &whose);
    backup_put(&writer, (const uint8_t *)"x", 1);
    for (uint64_t offset = FIRST_OFFSET + 1; offset < whose.end_offset; offset++) {
        backup_put(&writer, (const uint8_t *)"x", 1);
    }
    assert_int_equal(backup_end(&writer), -ENOSPC);
    (void)fclose(full);
}

static struct config three_nodes(void)
{
    struct config config = {.cluster = 5, .node_count = 3, .segment_bytes = SEGMENT_BYTES_DEFAULT};
    for (uint32_t i = 0; i < 3; i++) {
        config.nodes[i].id = (uint8_t)(i + 1);
        config.nodes[i].address.port = (uint16_t)(7001 + i);
    }
    return config;
}

static void an_id_survives_its_text_and_nothing_else_is_one(void **state)
{
    const struct fixture *fixture = *state;
    struct fault fault;
    (void)read_all(fixture->path, &fault);
    struct config config = three_nodes();
    struct restore_id id = restore_id_of(0xabc, &config, &reader.header, &reader.trailer);
    struct restore_id found;
    char text[RESTORE_ID_BYTES];
    assert_true(restore_id_parse(restore_id_format(&id, text), &found));
    assert_memory_equal(&found, &id, sizeof id);
    for (uint32_t i = 0; text[i] != '\0'; i++) {
        char kept = text[i];
        for (const char *bad = "gG A\n"; *bad != '\0'; bad++) {
            text[i] = *bad;
            assert_false(restore_id_parse(text, &found));
        }
        text[i] = '\0';
        assert_false(restore_id_parse(text, &found));
        text[i] = kept;
    }
    assert_false(restore_id_parse("", &found));
    assert_false(restore_id_parse("0000000000000abc-00000000-00000000x", &found));
    assert_false(restore_id_parse("0000000000000000-00000000-00000000", &found));
}

static void an_id_follows_from_what_machines_must_agree_on(void **state)
{
    const struct fixture *fixture = *state;
    struct fault fault;
    (void)read_all(fixture->path, &fault);
    struct config config = three_nodes();
    struct restore_id id = restore_id_of(1, &config, &reader.header, &reader.trailer);
    struct config same = config;
    strcpy(same.nodes[1].data, "elsewhere");
    same.size_bytes = 1;
    struct restore_id again = restore_id_of(1, &same, &reader.header, &reader.trailer);
    assert_memory_equal(&again, &id, sizeof id);
    struct config others[5];
    for (uint32_t i = 0; i < 5; i++) {
        others[i] = config;
    }
    others[0].cluster++;
    others[1].segment_bytes *= 2;
    others[2].node_count--;
    others[3].nodes[2].address.port++;
    others[4].nodes[2].id++;
    for (uint32_t i = 0; i < 5; i++) {
        again = restore_id_of(1, &others[i], &reader.header, &reader.trailer);
        assert_int_not_equal(again.configuration_crc, id.configuration_crc);
        assert_int_equal(again.backup_crc, id.backup_crc);
    }
    struct backup_header header = reader.header;
    struct backup_trailer trailer = reader.trailer;
    header.cluster++;
    header.crc = crc32c(0, &header, sizeof header - 4);
    trailer.file_crc++;
    trailer.crc = crc32c(0, &trailer, sizeof trailer - 4);
    again = restore_id_of(1, &config, &header, &reader.trailer);
    assert_int_equal(again.configuration_crc, id.configuration_crc);
    assert_int_not_equal(again.backup_crc, id.backup_crc);
    again = restore_id_of(1, &config, &reader.header, &trailer);
    assert_int_not_equal(again.backup_crc, id.backup_crc);
}

static void stores_differ_by_node_and_by_restore(void **state)
{
    (void)state;
    uint64_t stores[4 * 63];
    uint32_t count = 0;
    for (uint64_t number = 1; number <= 4; number++) {
        struct restore_id id = {.number = number};
        for (uint8_t node = 1; node <= NODE_ID_MAX; node++) {
            uint64_t store = restore_id_store(&id, node);
            assert_int_equal(store, restore_id_store(&id, node));
            assert_int_not_equal(store, 0);
            for (uint32_t i = 0; i < count; i++) {
                assert_int_not_equal(stores[i], store);
            }
            stores[count++] = store;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_is_read_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_byte_can_change_unseen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_cut_anywhere_is_refused_at_its_end, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_follows_the_trailer_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_of_something_else_is_named_so, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_version_is_named_and_is_no_damage, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(numbers_that_cannot_be_are_refused_under_a_good_checksum,
                                        set_up, tear_down),
        cmocka_unit_test(a_failed_write_is_told_and_ends_the_backup),
        cmocka_unit_test_setup_teardown(an_id_survives_its_text_and_nothing_else_is_one, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_id_follows_from_what_machines_must_agree_on, set_up,
                                        tear_down),
        cmocka_unit_test(stores_differ_by_node_and_by_restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
