/*
 * Changing lists that others may be changing too.
 */

#ifndef CTL_CHANGE_H
#define CTL_CHANGE_H

#include "api.h"


/* in:  the lists as they are; out: as they shall be, NULL to leave one */

typedef void (*ctl_plan_pt)(const ctl_config_t *now, void *data,
    const ctl_list_t **wanted);


/*
 * Carries the plan out, all of it or nothing.  It is made from the lists as
 * they are, sent on the condition that they still are so, and made anew where
 * they are not.  Returns how many IDs have changed, or in a dry run would;
 * *now is then what the lists were, and wanted[] those that differ from it.
 */
size_t ctl_change(const ctl_server_t *server, bool dry_run, ctl_plan_pt plan,
    void *data, ctl_config_t *now, const ctl_list_t **wanted);


#endif /* CTL_CHANGE_H */
