/*
 * explain: what the gate thinks of a token, without the gate.
 */

#include "explain.h"


static ctl_exit_t
ctl_explain_code(const ctl_gate_t *gate, const ctl_case_t *c)
{
    if (c->reason != ENTRA_OK) {
        return CTL_WOULD_REFUSE;
    }

    return c->device || gate->jwks != NULL ? CTL_DONE : CTL_UNVERIFIED;
}


ctl_exit_t
ctl_explain(const ctl_options_t *options, char **arguments)
{
    bool          more;
    ctl_case_t    c;
    ctl_gate_t    gate;
    ctl_exit_t    code;
    entra_str_t   text;
    const char   *path;

    path = arguments[0] ? arguments[0] : "-";

    if (arguments[0] != NULL && arguments[1] != NULL) {
        ctl_die(CTL_USAGE, NULL, "explain takes one file, or reads standard "
                "input");
    }

    if (!options->quiet) {
        ctl_warn("a token is a secret: whoever has it can use it until it "
                 "expires.  It belongs in no ticket and no chat.");
    }

    ctl_gate_read(options, &gate);

    more = false;
    text = ctl_read(path, gate.max_body, &more);

    if (entra_str_trim(text).len == 0) {
        ctl_die(CTL_ERROR, "it takes a token, an Authorization line, or a "
                "SOAP message", "%s is empty",
                strcmp(path, "-") == 0 ? "standard input" : path);
    }

    ctl_judge(&gate, text, more, &c);
    ctl_show(&gate, &c);

    code = ctl_explain_code(&gate, &c);

    ctl_gate_free(&gate);

    return code;
}
