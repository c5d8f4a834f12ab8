/*
 * Requests by libcurl.
 */

#include <curl/curl.h>
#include <stdlib.h>

#include "entra_json.h"
#include "entra_url.h"
#include "entra_version.h"
#include "http.h"


#define CTL_TIMEOUT      30
#define CTL_TIMEOUT_MAX  3600


/*** servers ***/


void
ctl_server_url(ctl_server_t *server, const char *name, const char *url)
{
    entra_url_t  parts;

    if (!entra_url_parse(entra_str(url), &parts) || parts.host.len == 0
        || (!entra_str_ieq(parts.scheme, entra_lit("https"))
            && !entra_str_ieq(parts.scheme, entra_lit("http"))))
    {
        ctl_die(CTL_USAGE, NULL, "%s must be a URL with a host, such as "
                "https://gate.example.com/entra-mdm/api/", name);
    }

    if (parts.userinfo) {
        ctl_die(CTL_USAGE, "--user names the user; the password is in "
                "ENTRA_MDM_PASSWORD or --password-file",
                "%s must have no user or password in it", name);
    }

    if (parts.fragment || strchr(url, '?') != NULL) {
        ctl_die(CTL_USAGE, NULL, "%s must end with its path: \"%s\"", name,
                url);
    }

    server->base = url[strlen(url) - 1] == '/' ? url : ctl_text("%s/", url);
}


static bool
ctl_server_local(const ctl_server_t *server)
{
    entra_str_t  host;
    entra_url_t  parts;

    (void) entra_url_parse(entra_str(server->base), &parts);

    host = parts.host;

    while (host.len && host.data[host.len - 1] >= '0'
           && host.data[host.len - 1] <= '9')
    {
        host.len--;
    }

    /* a port, or else those digits were part of the address */

    if (host.len && host.data[host.len - 1] == ':') {
        host.len--;

    } else {
        host = parts.host;
    }

    return server->unix_socket != NULL
           || entra_str_ieq(host, entra_lit("localhost"))
           || entra_str_eq(host, entra_lit("127.0.0.1"))
           || entra_str_eq(host, entra_lit("[::1]"));
}


static bool
ctl_server_plain(const ctl_server_t *server)
{
    return entra_lower(server->base[4]) != 's';
}


void
ctl_server_check(const ctl_server_t *server, bool allow_http)
{
    if ((server->user != NULL || server->token != NULL)
        && ctl_server_plain(server) && !ctl_server_local(server)
        && !allow_http)
    {
        ctl_die(CTL_ERROR, "use https, or --allow-http if the way there is "
                "safe", "the %s would go unencrypted to %s",
                server->token ? "token" : "password", server->base);
    }
}


long
ctl_timeout(const char *timeout)
{
    long   seconds;
    char  *end;

    if (timeout == NULL) {
        return CTL_TIMEOUT;
    }

    seconds = strtol(timeout, &end, 10);

    if (*end != '\0' || seconds < 1 || seconds > CTL_TIMEOUT_MAX) {
        ctl_die(CTL_USAGE, NULL, "--timeout must be 1 to %d seconds: \"%s\"",
                CTL_TIMEOUT_MAX, timeout);
    }

    return seconds;
}


/*** requests ***/


typedef struct {
    char    *data;
    size_t   len;
    size_t   room;
    bool     too_large;
} ctl_body_t;


static size_t
ctl_http_body(char *bytes, size_t size, size_t count, void *data)
{
    ctl_body_t *body = data;

    char    *larger;
    size_t   len;

    len = size * count;

    if (len > CTL_MAX_ANSWER - body->len) {
        body->too_large = true;
        return 0;
    }

    if (body->len + len > body->room) {
        body->room = (body->len + len) * 2;
        larger = ctl_alloc(body->room);

        if (body->len) {
            memcpy(larger, body->data, body->len);
        }

        body->data = larger;
    }

    if (len) {
        memcpy(body->data + body->len, bytes, len);
        body->len += len;
    }

    return len;
}


static void
ctl_http_who(CURL *curl, const ctl_server_t *server)
{
    if (server->user != NULL) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
        curl_easy_setopt(curl, CURLOPT_USERNAME, server->user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, server->password);
    }

    if (server->token != NULL) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long) CURLAUTH_BEARER);
        curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, server->token);
    }

    if (server->cert != NULL) {
        curl_easy_setopt(curl, CURLOPT_SSLCERT, server->cert);
        curl_easy_setopt(curl, CURLOPT_SSLKEY,
                         server->key ? server->key : server->cert);
    }
}


static void
ctl_http_where(CURL *curl, const ctl_server_t *server, const char *url)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);

    if (server->cacert != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, server->cacert);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }

    if (server->unix_socket != NULL) {
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, server->unix_socket);
    }

    if (ctl_server_local(server)) {
        /* a proxy in the environment is no part of this machine */
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    }
}


static const char *
ctl_http_header(CURL *curl, const char *name)
{
    struct curl_header  *header;

    if (curl_easy_header(curl, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK
        || header->amount != 1)
    {
        return NULL;
    }

    return ctl_text("%s", header->value);
}


/* a request that may have arrived, although its answer did not */

static bool
ctl_http_sent(CURLcode rc)
{
    return rc == CURLE_OPERATION_TIMEDOUT || rc == CURLE_GOT_NOTHING
           || rc == CURLE_RECV_ERROR || rc == CURLE_SEND_ERROR
           || rc == CURLE_PARTIAL_FILE || rc == CURLE_WEIRD_SERVER_REPLY;
}


__attribute__((noreturn))
static void
ctl_http_unreachable(CURLcode rc, const char *detail,
    const ctl_request_t *request, const char *url)
{
    if (request->body != NULL && ctl_http_sent(rc)) {
        ctl_die(CTL_UNREACHABLE, "the outcome is unknown: \"entra-mdmctl "
                "get\" shows what the lists are", "%s %s: %s",
                request->method, url, detail);
    }

    switch (rc) {

    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        ctl_die(CTL_ERROR, "the certificate's authority belongs into the file "
                "of --cacert, or --fleet-cacert for Fleet", "%s %s: %s",
                request->method, url, detail);

    case CURLE_SSL_CERTPROBLEM:
        ctl_die(CTL_ERROR, "--cert and --key name PEM files that belong "
                "together", "%s %s: %s", request->method, url, detail);

    default:
        ctl_die(CTL_UNREACHABLE, "is the server running, and is that its URL?",
                "%s %s: %s", request->method, url, detail);
    }
}


static struct curl_slist *
ctl_http_headers(const ctl_request_t *request)
{
    struct curl_slist  *headers;

    headers = curl_slist_append(NULL, "Accept: application/json");

    if (request->body != NULL) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
        headers = curl_slist_append(headers, "Expect:");
    }

    if (request->if_match != NULL) {
        headers = curl_slist_append(headers,
                                  ctl_text("If-Match: %s", request->if_match));
    }

    return headers;
}


void
ctl_http(const ctl_server_t *server, const ctl_request_t *request,
    ctl_answer_t *answer)
{
    CURL               *curl;
    char                detail[CURL_ERROR_SIZE];
    CURLcode            rc;
    ctl_body_t          body;
    struct curl_slist  *headers;

    memset(&body, 0, sizeof(body));
    memset(answer, 0, sizeof(ctl_answer_t));
    detail[0] = '\0';

    answer->method = request->method;
    answer->url = ctl_text("%s%s", server->base, request->path);

    curl = curl_easy_init();
    headers = ctl_http_headers(request);

    if (curl == NULL || headers == NULL) {
        ctl_die(CTL_ERROR, NULL, "out of memory");
    }

    ctl_http_where(curl, server, answer->url);
    ctl_http_who(curl, server);

    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "entra-mdmctl/" ENTRA_VERSION);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, server->timeout);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ctl_http_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);

    if (request->body != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                         (curl_off_t) strlen(request->body));
    }

    rc = curl_easy_perform(curl);

    if (rc == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
        answer->etag = ctl_http_header(curl, "ETag");
        answer->location = ctl_http_header(curl, "Location");
        answer->body = (entra_str_t) { body.data, body.len };
    }

    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);

    if (body.too_large) {
        ctl_die(CTL_ERROR, NULL, "%s %s: the answer has more than %d bytes",
                request->method, answer->url, CTL_MAX_ANSWER);
    }

    if (rc != CURLE_OK) {
        ctl_http_unreachable(rc, *detail ? detail : curl_easy_strerror(rc),
                             request, answer->url);
    }
}


/*** failures ***/


/* {"message":"...","errors":[{"name":"...","reason":"..."}]} */

static const char *
ctl_http_says(entra_str_t body)
{
    char        *says;
    size_t       i;
    json_t      *object, *error;
    const char  *name, *reason;

    if (entra_json_object(body, &object) != ENTRA_OK) {
        return NULL;
    }

    says = NULL;
    reason = json_string_value(json_object_get(object, "message"));

    if (reason != NULL) {
        says = ctl_text("%s", reason);
    }

    json_array_foreach(json_object_get(object, "errors"), i, error) {
        name = json_string_value(json_object_get(error, "name"));
        reason = json_string_value(json_object_get(error, "reason"));

        if (reason != NULL && i < 10) {
            says = ctl_join(says, says ? ": " : "", ctl_text("%s%s%s%s",
                            reason, name ? " (" : "", name ? name : "",
                            name ? ")" : ""));
        }
    }

    json_decref(object);

    return says;
}


static ctl_exit_t
ctl_http_code(long status)
{
    switch (status) {

    case 401:
    case 403:
    case 409:
    case 412:
    case 413:
    case 422:
        return CTL_REFUSED;

    case 502:
    case 503:
    case 504:
        return CTL_UNREACHABLE;

    default:
        return CTL_ERROR;
    }
}


void
ctl_http_failed(const ctl_answer_t *answer, const char *way_out)
{
    const char  *says;

    says = ctl_http_says(answer->body);

    if (answer->status / 100 == 3 && answer->location != NULL) {
        says = ctl_text("it sends on to %s", answer->location);
        way_out = "redirects are not followed: give the URL itself";
    }

    ctl_die(ctl_http_code(answer->status), way_out, "%s %s: HTTP %ld%s%s",
            answer->method, answer->url, answer->status, says ? ": " : "",
            says ? says : "");
}
