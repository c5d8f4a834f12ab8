/*
 * What a gate thinks of a token, worked out by the gate's own code: the core
 * verifies and judges, and nothing here decides.
 */

#ifndef CTL_EXPLAIN_H
#define CTL_EXPLAIN_H

#include "entra_soap.h"
#include "entra_verify.h"
#include "lists.h"


/* what is trusted, as entra_mdm_policy would say */

typedef struct {
    entra_policy_t   policy;
    entra_lists_t    lists;             /* the live ones, with --from-api */
    ctl_list_t       ids[ENTRA_LISTS];  /* all in force, to be shown */
    entra_jwks_t    *jwks;              /* NULL: no keys were given */
    size_t           max_token;
    size_t           max_body;
    int64_t          now;
    bool             from_api;
    bool             device_token_pass;
} ctl_gate_t;


typedef enum {
    CTL_FORM_TOKEN = 0,                 /* a compact JWS and nothing else */
    CTL_FORM_BEARER,                    /* as in an Authorization header */
    CTL_FORM_SOAP
} ctl_form_t;


/*
 * Without keys, reason is what it would be if the signature held.  Where the
 * signature does not, beside is what the claims would be refused for as well.
 */

typedef struct {
    ctl_form_t             form;
    entra_soap_message_t   message;
    entra_str_t            token;       /* empty: there is none */
    entra_verdict_t        verdict;
    entra_reason_t         reason;
    const char            *why;         /* or NULL */
    entra_reason_t         beside;      /* ENTRA_OK: nothing */
    bool                   device;      /* Fleet's own token, passed */
} ctl_case_t;


/* by the options; a mistake in them ends the process */
void ctl_gate_read(const ctl_options_t *options, ctl_gate_t *gate);
void ctl_gate_free(ctl_gate_t *gate);

/*
 * Finds the token in text, in whichever form it is, and judges it.  more: the
 * text is only the beginning of one that is too long.
 */
void ctl_judge(const ctl_gate_t *gate, entra_str_t text, bool more,
    ctl_case_t *c);

void ctl_show(const ctl_gate_t *gate, const ctl_case_t *c);

/* "3 minutes", "1 hour 14 minutes" */
const char *ctl_duration(double seconds);


#endif /* CTL_EXPLAIN_H */
