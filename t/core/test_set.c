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


/* how it was typed: the digit that is counted up, in upper case or not */

static entra_typed_t
typed(uint32_t n, uint32_t upper)
{
    entra_typed_t  entry;

    entry.id = number(n);
    entry.upper = upper;
    entry.order = 77;

    return entry;
}


/* digits that are letters: 0xab, 0xcd and so on from the left */

static void
test_packed(void)
{
    size_t        i;
    uint32_t      upper[3] = { 0, 0x3, 0x80000000 }, typed[3];
    uint8_t       packed[3 * ENTRA_GUID_PACKED];
    entra_set_t   set;
    entra_guid_t  ids[3];

    for (i = 0; i < 3; i++) {
        memset(&ids[i], 0, sizeof(entra_guid_t));
        ids[i].bytes[0] = (uint8_t) (0xab + i);
        ids[i].bytes[15] = 0x0f;

        tap_ok(entra_guid_pack(&ids[i], upper[i],
                               &packed[i * ENTRA_GUID_PACKED]),
               "packed: it can be");
    }

    set = (entra_set_t) { .ids = ids, .count = 3, .packed = packed };

    tap_ok(entra_set_upper(&set, 0) == 0 && entra_set_upper(&set, 1) == 0x3
           && entra_set_upper(&set, 2) == 0x80000000, "packed: each its own");
    tap_ok(entra_set_packs(&set), "packed: it packs again");

    entra_set_typed(&set, typed);
    tap_ok(memcmp(typed, upper, sizeof(upper)) == 0, "packed: all of them");

    set.upper = upper;
    tap_ok(entra_set_packs(&set), "packed: so it would be");

    memset(&ids[2], 0xaa, sizeof(entra_guid_t));
    tap_ok(!entra_set_packs(&set), "packed: not with one that cannot be");

    set = (entra_set_t) { .ids = ids, .count = 3 };
    tap_ok(entra_set_packs(&set) && entra_set_upper(&set, 1) == 0,
           "packed: lower case");
}


static void
test_typed(void)
{
    uint32_t       upper[5], other_upper[2];
    entra_set_t    set, old;
    entra_guid_t   ids[5], other_ids[2];
    entra_typed_t  entries[5], other[2];

    entries[0] = typed(9, 1);
    entries[1] = typed(3, 2);
    entries[2] = typed(9, 0);
    entries[3] = typed(3, 4);
    entries[4] = typed(5, 0);

    set = entra_set_build_typed(entries, 5, ids, upper);

    tap_is_size(set.count, 3, "typed: each once");
    tap_ok(upper[0] == 2 && upper[1] == 0 && upper[2] == 1,
           "typed: ascending, the first spelling of each");
    tap_ok(set.upper == upper && entra_set_upper(&set, 2) == 1,
           "typed: the set has them");

    other[0] = typed(9, 8);
    other[1] = typed(4, 16);
    old = entra_set_build_typed(other, 2, other_ids, other_upper);

    entra_set_keep_typed(&set, upper, &old);
    tap_ok(upper[0] == 2 && upper[1] == 0 && upper[2] == 8,
           "typed: what was there keeps its spelling");

    old.upper = NULL;
    entra_set_keep_typed(&set, upper, &old);
    tap_ok(upper[0] == 2 && upper[2] == 0, "typed: lower case, if it was so");

    set = entra_set_build_typed(NULL, 0, NULL, NULL);
    tap_is_size(set.count, 0, "typed: nothing");
    entra_set_keep_typed(&set, NULL, &old);
    tap_ok(!entra_set_eq(&set, &old) && entra_set_eq(&set, &set)
           && entra_set_eq(&old, &old), "equal to itself, not to the other");
}


/* -N for a member gone, +N for a new one */

static const char *
difference(const entra_set_t *from, const entra_set_t *to)
{
    bool                 added;
    char                *p;
    uint32_t             upper;
    entra_diff_t         diff;
    const entra_guid_t  *id;

    static char  text[200];

    memset(&diff, 0, sizeof(diff));
    diff.from = from;
    diff.to = to;
    p = text;
    *p = '\0';

    while ((id = entra_diff_next(&diff, &added, &upper)) != NULL) {
        p += sprintf(p, "%s%c%u/%u", p == text ? "" : " ", added ? '+' : '-',
                     id->bytes[15], upper);
    }

    return text;
}


static void
test_difference(void)
{
    uint32_t       upper[3], other_upper[3];
    entra_set_t    one, two, none;
    entra_guid_t   ids[3], other_ids[3];
    entra_typed_t  entries[3];

    memset(&none, 0, sizeof(none));

    entries[0] = typed(1, 1);
    entries[1] = typed(3, 3);
    entries[2] = typed(5, 5);
    one = entra_set_build_typed(entries, 3, ids, upper);

    entries[0] = typed(2, 2);
    entries[1] = typed(3, 9);
    entries[2] = typed(6, 6);
    two = entra_set_build_typed(entries, 3, other_ids, other_upper);

    tap_is_text(difference(&one, &two), "-1/1 +2/2 -5/5 +6/6",
                "a difference, whatever the spelling of what stays");
    tap_is_text(difference(&two, &one), "+1/1 -2/2 +5/5 -6/6", "and back");
    tap_is_text(difference(&none, &one), "+1/1 +3/3 +5/5", "from nothing");
    tap_is_text(difference(&one, &none), "-1/1 -3/3 -5/5", "to nothing");
    tap_is_text(difference(&one, &one), "", "none to itself");
    tap_is_size(entra_set_differences(&one, &two), 4, "four differences");
    tap_is_text(difference(&none, &none), "", "nor of nothing to nothing");
}


int
main(void)
{
    test_empty();
    test_one();
    test_many();
    test_all_the_same();
    test_typed();
    test_packed();
    test_difference();

    return tap_done();
}
