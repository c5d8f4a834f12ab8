/*
 * Sets of GUIDs.
 */

#include "entra_set.h"
#include "tap.h"


#define MANY  10007


static entra_guid_t
number(uint32_t n)
{
    entra_guid_t  guid;

    memset(&guid, 0, sizeof(guid));

    guid.bytes[0] = (uint8_t) (n >> 16);
    guid.bytes[7] = (uint8_t) (n >> 8);
    guid.bytes[15] = (uint8_t) n;

    return guid;
}


static void
test_empty(void)
{
    entra_guid_t  id;
    entra_set_t   set;

    id = number(1);
    set = entra_set_build(&id, 0);
    tap_ok(set.count == 0 && !entra_set_has(&set, &id), "an empty set");

    set = entra_set_build(NULL, 0);
    tap_ok(set.count == 0 && !entra_set_has(&set, &id), "a set of no array");

    memset(&set, 0, sizeof(set));
    tap_ok(!entra_set_has(&set, &id), "a zeroed set is empty");
}


static void
test_one(void)
{
    entra_guid_t  id, other;
    entra_set_t   set;

    id = number(2);
    set = entra_set_build(&id, 1);
    tap_ok(set.count == 1 && set.ids == &id, "one GUID stays where it is");
    tap_ok(entra_set_has(&set, &id), "it is found");

    other = number(1);
    tap_ok(!entra_set_has(&set, &other), "a smaller one is not");

    other = number(3);
    tap_ok(!entra_set_has(&set, &other), "a larger one is not");

    other = id;
    other.bytes[3] = 0x80;
    tap_ok(!entra_set_has(&set, &other), "one that differs inside is not");
}


/* every second number, each of them twice, in no order */

static void
test_many(void)
{
    bool           ok;
    uint32_t       i;
    entra_guid_t  *ids, id;
    entra_set_t    set;

    ids = malloc(2 * MANY * sizeof(entra_guid_t));
    if (ids == NULL) {
        tap_bail("out of memory");
    }

    for (i = 0; i < 2 * MANY; i++) {
        ids[i] = number(2 * (i * 7919 % MANY) + 1);
    }

    set = entra_set_build(ids, 2 * MANY);
    tap_is_size(set.count, MANY, "repeated GUIDs are in it once");

    ok = true;

    for (i = 1; i < set.count; i++) {
        ok = ok && memcmp(&set.ids[i - 1], &set.ids[i], 16) < 0;
    }

    tap_ok(ok, "ascending");

    ok = true;

    for (i = 0; i < 2 * MANY + 2; i++) {
        id = number(i);
        ok = ok && entra_set_has(&set, &id) == (i % 2 == 1 && i < 2 * MANY);
    }

    tap_ok(ok, "each member is found, each number between is not");

    set = entra_set_build(ids, set.count);
    tap_is_size(set.count, MANY, "building it again changes nothing");

    free(ids);
}


static void
test_all_the_same(void)
{
    size_t        i;
    entra_guid_t  ids[5];
    entra_set_t   set;

    for (i = 0; i < 5; i++) {
        ids[i] = number(7);
    }

    set = entra_set_build(ids, 5);
    tap_ok(set.count == 1 && entra_set_has(&set, &ids[0]),
           "five times the same");
}


int
main(void)
{
    test_empty();
    test_one();
    test_many();
    test_all_the_same();

    return tap_done();
}
