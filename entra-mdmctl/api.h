/*
 * The gate's API: the lists as they are, and changing them.
 */

#ifndef CTL_API_H
#define CTL_API_H

#include "http.h"
#include "lists.h"


typedef struct {
    ctl_list_t   live[ENTRA_LISTS];     /* which the API changes */
    ctl_list_t   fixed[ENTRA_LISTS];    /* by nginx's own configuration */
    const char  *etag;                  /* of the live ones */
    const char  *source;
    long long    generation;
    bool         gitops_mode;
    bool         in_force;
} ctl_config_t;


/* the server of --url, with a password if --user is given */
void ctl_api_server(const ctl_options_t *options, ctl_server_t *server);

void ctl_api_get(const ctl_server_t *server, ctl_config_t *config);

/*
 * Replaces the live lists by those wanted; NULL leaves one as it is.  Both or
 * neither: false if they are no longer those of *config, and nothing changed.
 */
bool ctl_api_patch(const ctl_server_t *server, const ctl_config_t *config,
    const ctl_list_t *const *wanted);

/*
 * Reads both lists out of mdm in an answer, the gate's or Fleet's.  Anything
 * but two arrays of GUIDs ends the process, with way_out.
 */
void ctl_api_lists(const ctl_answer_t *answer, const char *member,
    const char *way_out, ctl_list_t *lists);


#endif /* CTL_API_H */
