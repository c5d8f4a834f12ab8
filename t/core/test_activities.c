/*
 * The ring of activities: what it keeps, and what a process leaves of it that
 * is killed while it writes.
 */

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "entra_activities.h"
#include "tap.h"


#define ROOM   8
#define BATCH  20
#define KILLS  60


static entra_activities_t  *ring;


static void
ring_create(void)
{
    size_t  size;

    size = entra_activities_size(ROOM);

    ring = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
                0);
    if (ring == MAP_FAILED) {
        exit(2);
    }

    entra_activities_init(ring, ROOM);
}


static void
ring_destroy(void)
{
    munmap(ring, entra_activities_size(ROOM));
}


/* n client IDs come at once; each tells of which change it is */

static void
add(unsigned change, size_t n)
{
    size_t            i;
    entra_set_t       from[ENTRA_LISTS], to[ENTRA_LISTS];
    entra_guid_t      ids[BATCH];
    entra_activity_t  model, activities[ROOM];

    memset(from, 0, sizeof(from));
    memset(to, 0, sizeof(to));
    memset(ids, 0, sizeof(ids));
    memset(&model, 0, sizeof(model));

    for (i = 0; i < n; i++) {
        ids[i].bytes[0] = (uint8_t) i;
        memcpy(&ids[i].bytes[8], &change, sizeof(change));
    }

    to[ENTRA_CLIENT_IDS] = (entra_set_t) { .ids = ids, .count = n };

    snprintf(model.actor, sizeof(model.actor), "%u", change);
    snprintf(model.role, sizeof(model.role), "%u", change);

    model.time = change;

    n = entra_activities_collect(activities, ROOM, 1u << ENTRA_CLIENT_IDS, from,
                                 to, &model);
    entra_activities_add(ring, activities, n);
}


/* whether each is one activity, and not parts of two */

static bool
whole(size_t n, uint64_t first)
{
    size_t                   i;
    unsigned                 change;
    const entra_activity_t  *activity;

    for (i = 0; i < n; i++) {
        activity = entra_activities_get(ring, first + i);

        memcpy(&change, &activity->guid.bytes[8], sizeof(change));

        if (activity->id != first + i || activity->time != change
            || strcmp(activity->actor, activity->role) != 0
            || strtoul(activity->actor, NULL, 10) != change)
        {
            tap_diag("ID %" PRIu64 " of change %u: ID %" PRIu64 ", time %"
                     PRId64 ", actor %s, role %s", first + i, change,
                     activity->id, activity->time, activity->actor,
                     activity->role);
            return false;
        }
    }

    return true;
}


static void
test_room(void)
{
    uint64_t  first;

    ring_create();

    tap_ok(entra_activities_count(ring, &first) == 0, "a new ring is empty");

    add(1, 3);
    tap_ok(entra_activities_count(ring, &first) == 3 && first == 1
           && whole(3, first), "three");

    add(2, ROOM - 3);
    tap_ok(entra_activities_count(ring, &first) == ROOM && first == 1
           && whole(ROOM, first), "just as many as it keeps");

    add(3, 1);
    tap_ok(entra_activities_count(ring, &first) == ROOM && first == 2
           && whole(ROOM, first), "one more: the oldest goes");

    add(4, 0);
    tap_ok(entra_activities_count(ring, &first) == ROOM && ring->last == ROOM + 1,
           "no change, no activity");

    add(5, BATCH);
    tap_ok(entra_activities_count(ring, &first) == ROOM
           && ring->last == ROOM + 1 + BATCH && first == 2 + BATCH
           && whole(ROOM, first)
           && entra_activities_get(ring, first)->guid.bytes[0] == BATCH - ROOM,
           "of more than it keeps the last, numbered as if all were there");

    ring_destroy();
}


static void
test_restore(void)
{
    size_t            i;
    uint64_t          first;
    entra_activity_t  from[BATCH];

    memset(from, 0, sizeof(from));

    for (i = 0; i < BATCH; i++) {
        from[i].id = 100 + i;
        strcpy(from[i].actor, "0");
        strcpy(from[i].role, "0");
    }

    ring_create();
    entra_activities_restore(ring, from, 3);
    tap_ok(entra_activities_count(ring, &first) == 3 && first == 100
           && whole(3, first), "restored with their IDs");

    entra_activities_restore(ring, from, BATCH);
    tap_ok(entra_activities_count(ring, &first) == 3,
           "but not into a ring that has some");

    add(1, 1);
    tap_ok(entra_activities_count(ring, &first) == 4 && first == 100
           && ring->last == 103 && whole(4, first), "and it goes on from there");
    ring_destroy();

    ring_create();
    entra_activities_restore(ring, from, BATCH);
    tap_ok(entra_activities_count(ring, &first) == ROOM
           && ring->last == 99 + BATCH && whole(ROOM, first),
           "of more than it keeps the last");
    ring_destroy();

    ring_create();
    from[4].id = 2;
    entra_activities_restore(ring, from, 5);
    tap_ok(entra_activities_count(ring, &first) == 5 && first == 1
           && ring->last == 5 && whole(5, first),
           "IDs that do not reach down to 1 are given anew");
    ring_destroy();
}


/* changes without end, of one, few and more than the ring keeps */

static void
kill_writer(unsigned change)
{
    pid_t  pid;

    pid = fork();

    if (pid == 0) {
        alarm(60);      /* should nobody kill it */

        for ( ;; change++) {
            add(change, change % 3 == 0 ? 1 : change % 3 == 1 ? 5 : BATCH);
        }
    }

    if (pid == -1) {
        exit(2);
    }

    usleep(500 + (useconds_t) random() % 3000);

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}


static void
test_killed(void)
{
    bool      ok;
    size_t    n;
    uint64_t  first, last;
    unsigned  i;

    ring_create();

    ok = true;
    last = 0;

    for (i = 0; ok && i < KILLS; i++) {
        kill_writer(i * 1000000 + 1);

        n = entra_activities_count(ring, &first);

        ok = n <= ROOM && ring->last >= last && whole(n, first);
        last = ring->last;

        if (!ok) {
            tap_diag("%zu activities from ID %" PRIu64 ", kill %u", n, first,
                     i);
        }
    }

    tap_ok(last > 0, "killed processes have written");
    tap_ok(ok, "each is whole, and they are no more than the ring keeps");

    add(i * 1000000, 1);
    n = entra_activities_count(ring, &first);
    tap_ok(n > 0 && n <= ROOM && whole(n, first)
           && entra_activities_get(ring, ring->last)->time == i * 1000000,
           "the next one goes on");

    ring_destroy();
}


int
main(void)
{
    test_room();
    test_restore();
    test_killed();

    return tap_done();
}
