/*
 * The change that waits for nobody and overwrites nobody.
 */

#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "change.h"


#define CTL_TRIES  5
#define CTL_PAUSE  100                  /* milliseconds, at most, at first */


static size_t
ctl_change_size(const ctl_config_t *now, const ctl_list_t **wanted)
{
    size_t    n, all;
    unsigned  i;

    all = 0;

    for (i = 0; i < ENTRA_LISTS; i++) {

        if (wanted[i] == NULL) {
            continue;
        }

        n = ctl_list_difference((entra_lists_e) i, &now->live[i], wanted[i],
                                NULL);
        if (n == 0) {
            wanted[i] = NULL;
        }

        all += n;
    }

    return all;
}


/* those who change the lists at once must not meet at every try */

static void
ctl_change_pause(unsigned tries)
{
    uint32_t         random;
    struct timespec  pause;

    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random)) {
        random = (uint32_t) getpid();
    }

    random %= CTL_PAUSE << tries;

    pause.tv_sec = random / 1000;
    pause.tv_nsec = (long) (random % 1000) * 1000000;

    (void) nanosleep(&pause, NULL);
}


size_t
ctl_change(const ctl_server_t *server, bool dry_run, ctl_plan_pt plan,
    void *data, ctl_config_t *now, const ctl_list_t **wanted)
{
    size_t    n;
    unsigned  tries;

    for (tries = 0; tries < CTL_TRIES; tries++) {

        if (tries != 0) {
            ctl_change_pause(tries - 1);
        }

        ctl_api_get(server, now);

        wanted[ENTRA_CLIENT_IDS] = NULL;
        wanted[ENTRA_TENANT_IDS] = NULL;
        plan(now, data, wanted);

        n = ctl_change_size(now, wanted);

        if (n == 0 || dry_run || ctl_api_patch(server, now, wanted)) {
            return n;
        }
    }

    ctl_die(CTL_REFUSED, "nothing has changed: try again later", "%sconfig: "
            "HTTP 412, %d times: somebody else keeps changing the lists",
            server->base, CTL_TRIES);
}
