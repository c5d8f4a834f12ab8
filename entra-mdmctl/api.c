/*
 * GET config and PATCH config.
 */

#include <stdlib.h>

#include "api.h"
#include "entra_json.h"


#define CTL_WORD  "abcdefghijklmnopqrstuvwxyz-_"


static const char  ctl_api_no_api[] =
    "is --url the location in nginx that has entra_mdm_api?";


/*** the server ***/


static const char *
ctl_api_password(const ctl_options_t *options)
{
    const char  *password;

    if (options->password_file != NULL) {
        return ctl_read_secret(options->password_file);
    }

    password = getenv("ENTRA_MDM_PASSWORD");

    if (password == NULL) {
        password = ctl_prompt(ctl_text("Password of %s: ", options->user));
    }

    if (password == NULL) {
        ctl_die(CTL_USAGE, NULL, "--user needs ENTRA_MDM_PASSWORD or "
                "--password-file where there is no terminal to ask at");
    }

    return password;
}


void
ctl_api_server(const ctl_options_t *options, ctl_server_t *server)
{
    const char  *url;

    memset(server, 0, sizeof(ctl_server_t));

    url = options->url ? options->url : getenv("ENTRA_MDM_URL");

    if (url == NULL || *url == '\0') {
        ctl_die(CTL_USAGE, NULL, "--url or ENTRA_MDM_URL must name the "
                "location of the gate's API, such as "
                "https://gate.example.com/entra-mdm/api/");
    }

    if (options->key != NULL && options->cert == NULL) {
        ctl_die(CTL_USAGE, NULL, "--key needs --cert");
    }

    if (options->password_file != NULL && options->user == NULL) {
        ctl_die(CTL_USAGE, NULL, "--password-file needs --user");
    }

    if (options->user != NULL && strchr(options->user, ':') != NULL) {
        ctl_die(CTL_USAGE, "the password is in ENTRA_MDM_PASSWORD or "
                "--password-file", "--user has a colon, which no user has");
    }

    ctl_server_url(server, options->url ? "--url" : "ENTRA_MDM_URL", url);

    server->user = options->user;
    server->cert = options->cert;
    server->key = options->key;
    server->cacert = options->cacert;
    server->unix_socket = options->unix_socket;
    server->timeout = ctl_timeout(options->timeout);

    ctl_server_check(server, options->allow_http);

    if (server->user != NULL) {
        server->password = ctl_api_password(options);
    }
}


/*** reading ***/


__attribute__((noreturn))
static void
ctl_api_unreadable(const ctl_answer_t *answer, const char *what,
    const char *way_out)
{
    ctl_die(CTL_ERROR, way_out, "%s %s: %s", answer->method, answer->url,
            what);
}


static void
ctl_api_list(const ctl_answer_t *answer, const char *member,
    const ctl_names_t *names, const json_t *array, const char *way_out,
    ctl_list_t *list)
{
    size_t   i;
    json_t  *value;

    if (!json_is_array(array)) {
        ctl_api_unreadable(answer, ctl_text("the answer has no list %s.%s",
                                            member, names->key), way_out);
    }

    json_array_foreach(array, i, value) {

        if (!json_is_string(value)
            || ctl_list_add(list, entra_json_str(value)) == CTL_LIST_NO_GUID)
        {
            ctl_api_unreadable(answer,
                ctl_text("%s.%s has a value that is no GUID: \"%s\"", member,
                         names->key, json_is_string(value)
                                     ? json_string_value(value) : "?"),
                NULL);
        }
    }
}


/* a view of the answer as JSON, which the caller gives back */

static json_t *
ctl_api_object(const ctl_answer_t *answer, const char *way_out)
{
    json_t  *object;

    if (entra_json_object(answer->body, &object) != ENTRA_OK) {
        ctl_api_unreadable(answer, "the answer is not a JSON object", way_out);
    }

    return object;
}


void
ctl_api_lists(const ctl_answer_t *answer, const char *member,
    const char *way_out, ctl_list_t *lists)
{
    json_t    *object, *both;
    unsigned   i;

    object = ctl_api_object(answer, way_out);
    both = json_object_get(object, member);

    for (i = 0; i < ENTRA_LISTS; i++) {
        memset(&lists[i], 0, sizeof(ctl_list_t));
        ctl_api_list(answer, member, &ctl_names[i],
                     json_object_get(both, ctl_names[i].key), way_out,
                     &lists[i]);
    }

    json_decref(object);
}


/* it goes back as it came, in a header */

static bool
ctl_api_etag_valid(const char *etag)
{
    if (etag == NULL || *etag != '"' || strlen(etag) > 256) {
        return false;
    }

    for (etag++; *etag > ' ' && *etag < 0x7f && *etag != '"'; etag++) {
        /* void */
    }

    return etag[0] == '"' && etag[1] == '\0';
}


static void
ctl_api_read(const ctl_answer_t *answer, ctl_config_t *config)
{
    json_t      *object;
    const char  *source;

    memset(config, 0, sizeof(ctl_config_t));

    ctl_api_lists(answer, "mdm", ctl_api_no_api, config->live);
    ctl_api_lists(answer, "static", ctl_api_no_api, config->fixed);

    object = ctl_api_object(answer, ctl_api_no_api);
    source = json_string_value(json_object_get(object, "source"));

    /* a word of its own choice, which goes into JSON as it is */
    config->source = source && source[strspn(source, CTL_WORD)] == '\0'
                     ? ctl_text("%s", source) : "unknown";
    config->generation = json_integer_value(json_object_get(object,
                                                            "generation"));
    config->gitops_mode = json_is_true(json_object_get(object, "gitops_mode"));
    config->in_force = !json_is_false(json_object_get(object, "in_force"));
    config->etag = answer->etag;

    json_decref(object);
}


static const char *
ctl_api_way_out(long status)
{
    switch (status) {

    case 401:
        return "nginx asks who you are: --user, or --cert and --key";

    case 403:
        return "the role you have there may not do this; in GitOps mode only "
               "the role gitops may change the lists";

    case 404:
    case 405:
        return ctl_api_no_api;

    case 412:
        return "somebody else is changing the lists: try again";

    case 413:
        return "lists of that size belong into Redis";

    case 503:
        return "unless that says that nothing was changed, \"entra-mdmctl "
               "get\" shows what the lists are";

    default:
        return NULL;
    }
}


void
ctl_api_get(const ctl_server_t *server, ctl_config_t *config)
{
    ctl_answer_t  answer;

    static const ctl_request_t  request = { "GET", "config", NULL, NULL };

    ctl_http(server, &request, &answer);

    if (answer.status != 200) {
        ctl_http_failed(&answer, answer.status == 503
                                 ? "what the API stands on is away: try again"
                                 : ctl_api_way_out(answer.status));
    }

    ctl_api_read(&answer, config);
}


/*** changing ***/


static const char *
ctl_api_body(const ctl_list_t *const *wanted)
{
    char      *dumped, *text;
    size_t     n;
    json_t    *object, *mdm, *array;
    unsigned   i;

    mdm = json_object();

    for (i = 0; i < ENTRA_LISTS; i++) {

        if (wanted[i] == NULL) {
            continue;
        }

        array = json_array();

        for (n = 0; n < wanted[i]->count; n++) {
            json_array_append_new(array, json_string(wanted[i]->ids[n].text));
        }

        json_object_set_new(mdm, ctl_names[i].key, array);
    }

    object = json_pack("{s:o}", "mdm", mdm);
    dumped = object ? json_dumps(object, JSON_COMPACT) : NULL;

    if (dumped == NULL) {
        ctl_die(CTL_ERROR, NULL, "out of memory");
    }

    text = ctl_text("%s", dumped);

    free(dumped);
    json_decref(object);

    return text;
}


/*
 * What is asked must be what is then there: an answer that says otherwise is
 * no success, whatever its status.
 */

static void
ctl_api_check(const ctl_answer_t *answer, const ctl_list_t *const *wanted)
{
    unsigned      i;
    ctl_config_t  now;

    ctl_api_read(answer, &now);

    for (i = 0; i < ENTRA_LISTS; i++) {
        if (wanted[i] != NULL
            && ctl_list_difference((entra_lists_e) i, &now.live[i], wanted[i],
                                   NULL))
        {
            ctl_api_unreadable(answer, ctl_text("the answer's %s are not what "
                               "was asked for", ctl_names[i].words),
                               "\"entra-mdmctl get\" shows what they are");
        }
    }
}


bool
ctl_api_patch(const ctl_server_t *server, const ctl_config_t *config,
    const ctl_list_t *const *wanted)
{
    ctl_answer_t   answer;
    ctl_request_t  request = { "PATCH", "config", NULL, NULL };

    if (!ctl_api_etag_valid(config->etag)) {
        ctl_die(CTL_ERROR, "does something between here and nginx take it "
                "away, or compress answers?", "%s%s comes without a strong "
                "ETag, so that a change could undo another's", server->base,
                request.path);
    }

    request.body = ctl_api_body(wanted);
    request.if_match = config->etag;

    ctl_http(server, &request, &answer);

    if (answer.status == 412) {
        return false;
    }

    if (answer.status != 200) {
        ctl_http_failed(&answer, ctl_api_way_out(answer.status));
    }

    ctl_api_check(&answer, wanted);

    return true;
}
