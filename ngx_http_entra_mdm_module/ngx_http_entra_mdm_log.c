/*
 * One line in error.log for a refusal, with what an administrator needs to
 * mend it.  Of a token nothing is written before its signature verified but
 * its length and kid.
 */

#include "ngx_http_entra_mdm_lease.h"
#include "ngx_http_entra_mdm_lists.h"

#include "entra_escape.h"


/*
 * nginx cuts a line at 2048 bytes, and its own part follows ours: three
 * audiences, three hosts, a tenant and twenty GUIDs have room.
 */
#define MAX_DETAIL  1640
#define MAX_VALUE   128                 /* bytes, escaped */
#define MAX_VALUES  3
#define MAX_IDS     20
#define MAX_ID      (ENTRA_GUID_LEN + sizeof(",  and  more") + NGX_SIZE_T_LEN)


typedef struct {
    u_char  *pos;
    u_char  *end;
} ngx_http_entra_mdm_line_t;


static void
ngx_http_entra_mdm_line(ngx_http_entra_mdm_line_t *line, const char *format,
    ...)
{
    va_list  args;

    va_start(args, format);
    line->pos = ngx_vslprintf(line->pos, line->end, format, args);
    va_end(args);
}


/* a value from outside, escaped, cut off where it is long */

static void
ngx_http_entra_mdm_line_value(ngx_http_entra_mdm_line_t *line,
    entra_str_t value)
{
    char    buffer[MAX_VALUE + ENTRA_ESCAPE_MAX];
    char   *end;
    size_t  i;

    for (i = 0, end = buffer; i < value.len && end < buffer + MAX_VALUE; i++) {
        end = entra_escape_log((entra_str_t) { &value.data[i], 1 }, end);
    }

    ngx_http_entra_mdm_line(line, "\"%*s\"%s", (size_t) (end - buffer), buffer,
                            i < value.len ? "..." : "");
}


static void
ngx_http_entra_mdm_line_values(ngx_http_entra_mdm_line_t *line,
    const char *name, const entra_str_t *values, size_t n)
{
    size_t  i;

    ngx_http_entra_mdm_line(line, ", %s:%s", name, n ? "" : " none");

    for (i = 0; i < n && i < MAX_VALUES; i++) {
        ngx_http_entra_mdm_line(line, i ? ", " : " ");
        ngx_http_entra_mdm_line_value(line, values[i]);
    }

    if (n > MAX_VALUES) {
        ngx_http_entra_mdm_line(line, " and %uz more", n - MAX_VALUES);
    }
}


static void
ngx_http_entra_mdm_line_claim(ngx_http_entra_mdm_line_t *line,
    const char *name, const entra_claim_str_t *claim)
{
    if (claim->state == ENTRA_CLAIM_PRESENT) {
        ngx_http_entra_mdm_line(line, ", %s ", name);
        ngx_http_entra_mdm_line_value(line, claim->value);
    }
}


static void
ngx_http_entra_mdm_line_ids(ngx_http_entra_mdm_line_t *line,
    ngx_http_entra_mdm_policy_t *policy, const char *name, entra_lists_e which)
{
    char          guid[ENTRA_GUID_LEN];
    size_t        i, n, total;
    entra_guid_t  ids[MAX_IDS];

    n = ngx_http_entra_mdm_lists_first(policy, which, ids, MAX_IDS, &total);

    ngx_http_entra_mdm_line(line, ", %s in force:%s", name, n ? "" : " none");

    for (i = 0; i < n; i++) {

        if ((size_t) (line->end - line->pos) < MAX_ID) {
            /* long audiences came before: leave the rest to the count */
            break;
        }

        (void) entra_guid_write(&ids[i], guid);
        ngx_http_entra_mdm_line(line, "%s%*s", i ? ", " : " ",
                                (size_t) ENTRA_GUID_LEN, guid);
    }

    if (i < total) {
        ngx_http_entra_mdm_line(line, " and %uz more", total - i);
    }
}


/* what to copy into the configuration, beside what is there */

static void
ngx_http_entra_mdm_line_audience(ngx_http_entra_mdm_line_t *line,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    const entra_claims_t  *claims;
    const entra_policy_t  *rules;

    claims = &ctx->verdict.claims;
    rules = &ctx->policy->rules;

    ngx_http_entra_mdm_line_values(line, "audience of the token", claims->aud,
                                   claims->naud);
    ngx_http_entra_mdm_line_values(line, "expected host", rules->hosts,
                                   rules->nhosts);
    ngx_http_entra_mdm_line_claim(line, "tenant", &claims->tid);
    ngx_http_entra_mdm_line_ids(line, ctx->policy, "client IDs",
                                ENTRA_CLIENT_IDS);
}


static void
ngx_http_entra_mdm_line_times(ngx_http_entra_mdm_line_t *line,
    const entra_claims_t *claims)
{
    ngx_uint_t                  i;
    const entra_claim_time_t   *time;

    static const char  *names[] = { "exp", "nbf", "iat" };

    for (i = 0; i < 3; i++) {
        time = i == 0 ? &claims->exp : i == 1 ? &claims->nbf : &claims->iat;

        if (time->state == ENTRA_CLAIM_PRESENT
            && time->value > -1e15 && time->value < 1e15)
        {
            ngx_http_entra_mdm_line(line, ", %s %L", names[i],
                                    (int64_t) time->value);
        }
    }

    ngx_http_entra_mdm_line(line, ", now %T", ngx_time());
}


static void
ngx_http_entra_mdm_line_keys(ngx_http_entra_mdm_line_t *line,
    ngx_http_entra_mdm_policy_t *policy)
{
    u_char     buffer[NGX_HTTP_ENTRA_MDM_MAX_ERROR];
    ngx_str_t  error;

    if (policy->keys->jwks == NULL) {
        ngx_http_entra_mdm_line(line, ", no key set from \"%V\"",
                                &policy->keys->name);

    } else {
        ngx_http_entra_mdm_line(line, ", key set of %uz keys, %T seconds old",
                                (size_t) entra_jwks_count(policy->keys->jwks),
                                ngx_http_entra_mdm_keys_age(policy));
    }

    error = ngx_http_entra_mdm_lease_error(policy, buffer);

    if (error.len) {
        ngx_http_entra_mdm_line(line, ", the last fetch failed: %V", &error);
    }
}


/* the values that help with this reason */

static void
ngx_http_entra_mdm_line_detail(ngx_http_entra_mdm_line_t *line,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    const entra_claims_t  *claims;

    claims = &ctx->verdict.claims;

    switch (ctx->reason) {

    case ENTRA_KEY_UNKNOWN:
        ngx_http_entra_mdm_line(line, ", kid ");
        ngx_http_entra_mdm_line_value(line, ctx->verdict.kid);

        /* fall through */

    case ENTRA_KEYS_UNAVAILABLE:
        ngx_http_entra_mdm_line_keys(line, ctx->policy);
        break;

    case ENTRA_KEY_NOT_ALLOWED:
    case ENTRA_SIGNATURE_INVALID:
        ngx_http_entra_mdm_line(line, ", kid ");
        ngx_http_entra_mdm_line_value(line, ctx->verdict.kid);
        break;

    case ENTRA_TOKEN_MALFORMED:
    case ENTRA_ALGORITHM_NOT_ALLOWED:
        if (ctx->token_len) {
            ngx_http_entra_mdm_line(line, ", %uz bytes", ctx->token_len);
        }
        break;

    case ENTRA_TOKEN_EXPIRED:
    case ENTRA_TOKEN_NOT_YET_VALID:
        ngx_http_entra_mdm_line_times(line, claims);
        break;

    case ENTRA_CLAIM_INVALID:
        ngx_http_entra_mdm_line_claim(line, "tenant", &claims->tid);
        break;

    case ENTRA_ISSUER_NOT_ALLOWED:
        ngx_http_entra_mdm_line_claim(line, "issuer", &claims->iss);
        break;

    case ENTRA_SCOPE_NOT_ALLOWED:
        ngx_http_entra_mdm_line_claim(line, "scope", &claims->scp);
        ngx_http_entra_mdm_line(line, ", expected ");
        ngx_http_entra_mdm_line_value(line, ctx->policy->rules.scope);
        break;

    case ENTRA_AUDIENCE_NOT_ALLOWED:
        ngx_http_entra_mdm_line_audience(line, ctx);
        break;

    case ENTRA_TENANT_NOT_ALLOWED:
        ngx_http_entra_mdm_line_claim(line, "tenant", &claims->tid);
        ngx_http_entra_mdm_line_ids(line, ctx->policy, "tenant IDs",
                                    ENTRA_TENANT_IDS);
        break;

    case ENTRA_UPN_MISSING:
    case ENTRA_UPN_INVALID:
        ngx_http_entra_mdm_line_claim(line, "oid", &claims->oid);
        ngx_http_entra_mdm_line_claim(line, "tenant", &claims->tid);
        break;

    default:
        break;
    }
}


void
ngx_http_entra_mdm_log_refusal(ngx_http_request_t *r,
    ngx_http_entra_mdm_ctx_t *ctx)
{
    u_char                      buffer[MAX_DETAIL];
    entra_str_t                 id, text;
    const entra_reason_info_t  *info;
    ngx_http_entra_mdm_line_t   line;

    info = entra_reason_info(ctx->reason);
    id = ngx_http_entra_mdm_request_id(r);

    /* the line goes on where the sentence ends */

    text = info->text;
    text.len -= (text.data[text.len - 1] == '.');

    line.pos = buffer;
    line.end = buffer + sizeof(buffer);

    if (ctx->why != NULL) {
        ngx_http_entra_mdm_line(&line, " (%s)", ctx->why);
    }

    ngx_http_entra_mdm_line_detail(&line, ctx);

    ngx_log_error(ctx->policy->log_level, r->connection->log, 0,
                  "entra_mdm: policy \"%V\" %s, %*s: %*s%*s, request_id: %*s",
                  &ctx->policy->name,
                  ctx->state == NGX_HTTP_ENTRA_MDM_REFUSED ? "refused"
                                                           : "would refuse",
                  info->key.len, info->key.data, text.len, text.data,
                  (size_t) (line.pos - buffer), buffer, id.len, id.data);
}


void
ngx_http_entra_mdm_log_subrequest(ngx_http_request_t *r,
    ngx_http_entra_mdm_policy_t *policy)
{
    u_char                     buffer[MAX_VALUE + 2 * ENTRA_ESCAPE_MAX];
    ngx_http_entra_mdm_line_t  line;

    line.pos = buffer;
    line.end = buffer + sizeof(buffer);

    ngx_http_entra_mdm_line_value(&line, ngx_http_entra_mdm_str(&r->uri));

    ngx_log_error(policy->log_level, r->connection->log, 0,
                  "entra_mdm: subrequest %*s refused by policy \"%V\": its "
                  "main request was not accepted by it; say \"entra_mdm off\" "
                  "in that location if it needs no gate",
                  (size_t) (line.pos - buffer), buffer, &policy->name);
}


entra_str_t
ngx_http_entra_mdm_request_id(ngx_http_request_t *r)
{
    ngx_http_variable_value_t       *value;
    ngx_http_entra_mdm_main_conf_t  *emmcf;

    emmcf = ngx_http_get_module_main_conf(r, ngx_http_entra_mdm_module);

    value = ngx_http_get_indexed_variable(r, emmcf->request_id);

    if (value == NULL || value->not_found) {
        return entra_lit("-");
    }

    return (entra_str_t) { (char *) value->data, value->len };
}
