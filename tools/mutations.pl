# The rules that tools/mutate breaks.  A row is a rule's name, the file, what
# stands there exactly once, what takes its place, and the tests that are to
# go red: those of the core are named test_NAME, those of t/ by their names.
# A folder instead of a file: whichever file of it has the piece.

use strict;
use warnings;

my $glue = 'ngx_http_entra_mdm_module';
my $core = "$glue/core";

(
    # the token

    [ 'a key signs for its own issuer only', "$core/entra_verify.c",
        'entra_jwks_find(jwks, jws->kid, iss, tid,',
        'entra_jwks_find(jwks, jws->kid, iss = ENTRA_STR_NONE, tid,',
        'test_verify' ],
    [ 'no other algorithm than RS256', "$core/entra_verify.c",
        'if (!jws->rs256) {', 'if (jws->rs256 && !jws->rs256) {',
        'test_verify' ],
    [ 'no critical header member', "$core/entra_verify.c",
        'if (jws->crit) {', 'if (jws->crit && !jws->rs256) {',
        'test_verify' ],
    [ 'the signature counts', "$core/entra_verify.c",
        "default:\n        return ENTRA_SIGNATURE_INVALID;",
        "default:\n        return ENTRA_OK;", 'test_verify' ],
    [ 'no key below 2048 bits', "$core/entra_jwks.h",
        'ENTRA_RSA_MIN_BITS  2048', 'ENTRA_RSA_MIN_BITS  1024', 'test_jwks' ],
    [ 'no key for another use', "$core/entra_jwks.c",
        'if (!entra_key_member_is(jwk, "use", "sig")) {',
        'if (!entra_key_member_is(jwk, "use", "sig") && jwk == NULL) {',
        'test_jwks' ],
    [ 'no name twice in a token', "$core/entra_json_scan.c",
        'return differ && entra_scan_is(s, \'}\');',
        'return (differ || !differ) && entra_scan_is(s, \'}\');',
        'test_claims' ],
    [ 'no name twice in a key set', "$core/entra_json.c",
        'JSON_REJECT_DUPLICATES|flags', 'flags', 'test_jwks' ],
    [ 'no stray bits in base64', "$core/entra_base64.c",
        'return (bits & 0xf) == 0;', 'return true;', 'test_base64' ],
    [ 'claims come back for the very same token only', "$core/entra_cache.c",
        'CRYPTO_memcmp(&entry->digest, digest, sizeof(entra_digest_t))',
        'CRYPTO_memcmp(&entry->digest, digest, 4)', 'test_cache' ],
    [ 'its signature is part of it', "$core/entra_digest.c",
        'text.data + n, text.len - n)', 'text.data + n, 0 * text.len)',
        'test_cache' ],
    [ 'what is kept of a token ends with it', "$core/entra_cache.c",
        'return entry->expires <= (double) now;',
        'return entry->expires <= (double) now - 3600;', 'test_cache' ],
    [ 'a device token is a JSON object with a type', "$core/entra_device.c",
        'json_is_number(json_object_get(json, "type"))',
        'json_is_object(json)', 'test_device' ],

    # the claims

    [ 'an expired token is expired', "$core/entra_policy.c",
        'claims->exp.value <= late', 'claims->exp.value <= late - 86400',
        'test_policy' ],
    [ 'the leeway is no longer than it is', "$core/entra_policy.c",
        '(now + policy->leeway)', '(now + policy->leeway + 1)',
        'test_policy' ],
    [ 'an expiry is a date', "$core/entra_policy.c",
        '|| claims->exp.value > ENTRA_TIME_MAX',
        '|| claims->exp.value > 1e9 * ENTRA_TIME_MAX', 'test_policy' ],
    [ 'the issuer is one of those trusted', "$core/entra_policy.c",
        'if (!entra_policy_issuer(policy, claims)) {',
        'if (policy == NULL && !entra_policy_issuer(policy, claims)) {',
        'test_policy' ],
    [ 'an issuer is equal, not only alike', "$core/entra_issuer.c",
        "    return text.len == 0;\n}", "    return true;\n}", 'test_issuer' ],
    [ "the issuer's tenant is the token's", "$core/entra_issuer.c",
        'part = tid;', 'part.data = text.data;
            part.len = text.len < tid.len ? text.len : tid.len;',
        'test_issuer' ],
    [ "a key's issuer covers its own tenant only", "$core/entra_issuer.c",
        '&& memcmp(&guid, &key_guid, sizeof(entra_guid_t)) == 0;',
        '&& memcmp(&guid, &key_guid, 0) == 0;', 'test_issuer' ],
    [ 'a host is equal, not only a prefix', "$core/entra_policy.c",
        'if (entra_str_ieq(url.host, policy->hosts[i])) {',
        'if (entra_str_starts(url.host, policy->hosts[i])) {',
        'test_policy' ],
    [ 'the tenant is listed', "$core/entra_policy.c",
        '&tenant, ENTRA_TENANT_NOT_ALLOWED);', '&tenant, ENTRA_OK);',
        'test_policy' ],
    [ 'the scope is equal', "$core/entra_policy.c",
        'entra_str_eq(policy->scope, claims->scp.value)',
        'entra_str_starts(claims->scp.value, policy->scope)',
        'test_policy' ],
    [ 'a list that is not known lets nobody in', "$core/entra_policy.c",
        'return ENTRA_LISTS_UNAVAILABLE;', 'return ENTRA_OK;',
        'test_policy' ],
    [ 'no control character in a user', "$core/entra_policy.c",
        'if (c < 0x20 || c == 0x7f) {', 'if (c < 0x0a) {', 'test_policy' ],
    [ 'a token without a user, where one is required', "$core/entra_policy.c",
        'if (policy->require_upn && user->len == 0) {',
        'if (policy->require_upn && user->len > 1024) {', 'test_policy' ],
    [ 'a redirect goes to our own hosts', "$core/entra_tou.c",
        'if (entra_str_ieq(url.host, hosts[i])) {',
        'if (url.host.len >= hosts[i].len) {', 'test_tou' ],

    # the message

    [ 'no DOCTYPE', "$core/entra_soap.c",
        'XML_SetStartDoctypeDeclHandler(parser, entra_soap_doctype);',
        'XML_SetStartDoctypeDeclHandler(parser, NULL);'
            . ' (void) entra_soap_doctype;', 'test_soap' ],
    [ 'one token in a message', "$core/entra_soap_elements.c",
        '} else if (soap->token) {', '} else if (soap->token > 1) {',
        'test_soap' ],
    [ 'one Security in a message', "$core/entra_soap_elements.c",
        '} else if (soap->security) {', '} else if (soap->security > 1) {',
        'test_soap' ],
    [ 'one Header in a message', "$core/entra_soap_elements.c",
        'if (soap->header) {', 'if (soap->header > 1) {', 'test_soap' ],
    [ 'no element inside the token', "$core/entra_soap_elements.c",
        "case KIND_TOKEN:\n        entra_soap_note(soap,"
            . ' ENTRA_SECURITY_MALFORMED,',
        "case KIND_TOKEN:\n        if (soap->depth == 0) entra_soap_note(soap,"
            . ' ENTRA_SECURITY_MALFORMED,', 'test_soap' ],
    [ 'nothing beside the text inside the token', "$core/entra_soap.c",
        'if (soap->kind[soap->depth - 1] == KIND_TOKEN) {
        entra_soap_note(',
        'if (soap->kind[soap->depth - 1] == KIND_CONTEXT) {
        entra_soap_note(', 'test_soap' ],
    [ 'no element deeper than 64', "$core/entra_soap.c",
        'if (soap->depth == ENTRA_SOAP_MAX_DEPTH) {',
        'if (soap->depth > ENTRA_SOAP_MAX_DEPTH) {', 'test_soap' ],
    [ 'no encoding but UTF-8', "$core/entra_soap.c",
        'entra_str_ieq(entra_str(encoding), entra_lit("UTF-8"))',
        'entra_str_starts(entra_str(encoding), ENTRA_STR_NONE)',
        'test_soap' ],
    [ 'no attribute twice by local name', "$core/entra_soap_elements.c",
        'if (entra_str_eq(one.local, two.local)) {',
        'if (entra_str_eq(one.local, two.local)
                && entra_str_eq(one.ns, two.ns)) {', 'test_soap' ],
    [ 'an accepted token in a broken message', $glue,
        'return judged && reason != ENTRA_OK
                   ? reason : entra_soap_reason(soap, &ctx->why);',
        'return judged ? reason : entra_soap_reason(soap, &ctx->why);',
        'soap-malformed' ],
    [ 'no Content-Encoding of a message', $glue,
        'if (ngx_http_entra_mdm_headers_count(r, &content_encoding)) {',
        'if (ngx_http_entra_mdm_headers_count(r, &content_encoding) > 1) {',
        'soap' ],
    [ 'no body over max_body', $glue,
        'if (ctx->received <= max) {', 'if (ctx->received <= 64 * max) {',
        'body-limit' ],
    [ 'no announced body over max_body', $glue,
        'if (r->headers_in.content_length_n > (off_t) ctx->policy->max_body) {',
        'if (r->headers_in.content_length_n
        > 64 * (off_t) ctx->policy->max_body) {', 'body-limit-end' ],
    [ 'a body where none is allowed', $glue,
        'if (!ngx_http_entra_mdm_no_body(emlcf, token)) {',
        'if (token == NGX_HTTP_ENTRA_MDM_BEARER) {', 'bearer' ],
    [ "the client's method counts", $glue,
        'if (r->request_line.len > 5
        && ngx_strncmp(r->request_line.data, "POST ", 5) == 0)',
        'if (r->method == NGX_HTTP_POST)', 'redirects' ],

    # who may, and who is told

    [ "what a client sends as identity is taken off", $glue,
        'kind == NGX_HTTP_ENTRA_MDM_FOREIGN
                || (kind == NGX_HTTP_ENTRA_MDM_OURS && !keep_ours)',
        'kind == NGX_HTTP_ENTRA_MDM_OURS && !keep_ours', 'headers' ],
    [ "identity under another policy's prefix is taken off", $glue,
        'ngx_http_entra_mdm_header_like(&h->key,
                                               &policy[i]->lowcase[j])',
        'ngx_http_entra_mdm_header_like(&h->key,
                                               &policy[0]->lowcase[j])',
        'headers' ],
    [ 'identity under a like name is taken off', $glue,
        "            ch = '-';", "            ch = ch == '_' ? '_' : '-';",
        'headers-gateways' ],
    [ 'identity is set on acceptance only', $glue,
        'if (ctx->state != NGX_HTTP_ENTRA_MDM_ACCEPTED) {',
        'if (ctx->state < NGX_HTTP_ENTRA_MDM_ACCEPTED) {', 'dry_run' ],
    [ 'the last refusals are of tokens that verified', $glue,
        'if (!ctx->verdict.verified) {
        return;', 'if (!ctx->verdict.verified && ctx->policy == NULL) {
        return;', 'api-status' ],
    [ 'a subrequest rides on the verdict of its main request', $glue,
        "ngx_http_entra_mdm_log_subrequest(r, emlcf->policy);\n\n"
            . "    return NGX_HTTP_FORBIDDEN;",
        "return NGX_DECLINED;", 'subrequests' ],
    [ 'a refusal stands after a redirect', $glue,
        'return ngx_http_entra_mdm_enforce(r, emlcf, ctx);
        }',
        'return NGX_OK;
        }', 'redirects' ],
    [ 'a device token is denied unless the policy passes it', $glue,
        '&& !ctx->policy->device_token_pass)',
        '&& ctx->policy->device_token_pass > 1)', 'device_token' ],
    [ 'a fault is replaced by an error page of its own location', $glue,
        'if (!emlcf->own_error_page
', 'if (emlcf->error_pages == NULL
', 'faults' ],

    [ 'a dry run opens nothing where one rule suffices', $glue,
        'if (emlcf->dry_run) {
            /* declined, not granted: it opens nothing under "satisfy any" */
            return NGX_DECLINED;', 'if (emlcf->dry_run) {
            return NGX_OK;', 'satisfy', 'dry_run' ],
    [ 'a request is counted once', $glue,
        'ctx->counted = 1;', 'ctx->counted = 0;', 'metrics' ],
    [ 'where others grant, the refusal of the gate is final', $glue,
        "    r->access_code = 0;

    if (ngx_http_entra_mdm_retry_after(r, ctx) != NGX_OK) {",
        '    if (ngx_http_entra_mdm_retry_after(r, ctx) != NGX_OK) {',
        'satisfy' ],
    [ "two Authorization headers are nobody's", $glue,
        'if (ngx_http_entra_mdm_headers_count(r, &authorization) > 1) {',
        'if (ngx_http_entra_mdm_headers_count(r, &authorization) > 9) {',
        'headers' ],

    # the keys

    [ 'keys that are gone stop working', $glue,
        'if (keys->generation != snapshot.keys_generation
        && ngx_http', 'if (keys->generation == 0
        && ngx_http', 'jwks-file' ],
    [ 'keys past max_stale are not used', $glue,
        '&& ngx_http_entra_mdm_keys_age(policy) > keys->max_stale))',
        '&& ngx_http_entra_mdm_keys_age(policy) - 86400
               > keys->max_stale))', 'jwks-failures' ],
    [ 'a clock set back makes nothing young', $glue,
        'age = ngx_max(ngx_time() - moment->wall,
                  ngx_http_entra_mdm_steady() - moment->steady);',
        'age = ngx_time() - moment->wall;', 'clock' ],
    [ 'only a listed tenant has keys fetched', $glue,
        'may = entra_policy_may_ask(', 'may = 1 | entra_policy_may_ask(',
        'jwks-request' ],
    [ 'no fetch before min_interval', $glue,
        '|| ngx_http_entra_mdm_lease_early(lease, policy->keys))',
        '|| (ngx_http_entra_mdm_lease_early(lease, policy->keys)
                   && lease->attempts == 0))', 'jwks-request' ],

    # the lists

    [ 'a list past max_stale is not known', $glue,
        '&& ngx_http_entra_mdm_moment_age(&zone->lists_updated)
                      > policy->live_max_stale)',
        '&& ngx_http_entra_mdm_moment_age(&zone->lists_updated) - 86400
                      > policy->live_max_stale)', 'redis-outage' ],
    [ 'a Redis that lost its data empties no list', $glue,
        'if (load->exist == 0 && generation == 0 && zone->feed.generation) {',
        'if (load->exist == 7 && generation == 0 && zone->feed.generation) {',
        'redis-lost' ],
    [ 'a member that is no GUID keeps no other out', $glue,
        'ngx_http_entra_mdm_redis_skip(load, text);
            break;', 'ngx_http_entra_mdm_redis_skip(load, text);
            return NGX_ERROR;', 'redis-lists' ],
    [ 'no state through a symbolic link', $glue,
        'NGX_FILE_NONBLOCK | (nofollow ? O_NOFOLLOW : 0), 0);',
        'NGX_FILE_NONBLOCK | (nofollow ? 0 : 0), 0);', 'state-damaged' ],

    [ 'max_token counts the bytes of a token', "$core/entra_soap.c",
        'if (len > message->max_token) {',
        'if (len > message->max_token + 1) {', 'test_soap' ],
    [ 'a cursor of Redis is a number', "$core/entra_redis_reply.c",
        '&& entra_redis_digits(*cursor, UINT64_MAX, &number);',
        '&& (number = 1);', 'test_redis_reply' ],
    [ 'a master says that it is one', "$core/entra_redis_reply.c",
        'reply->elements
           && entra_redis_says(reply->element[0], entra_lit("master"));',
        'reply->elements
           && entra_redis_is_string(reply->element[0]);', 'test_redis_reply' ],

    # the API

    [ 'who has no role may not read', $glue,
        'if (ngx_http_entra_mdm_api_methods(&author.role) == 0) {',
        'if (author.role.len == 0) {', 'api-roles' ],
    [ 'an observer changes nothing', $glue,
        '{ ngx_string("observer"), READ },',
        '{ ngx_string("observer"), READ|CHANGE },', 'api-roles' ],
    [ 'no change by another origin', $glue,
        '&& !ngx_http_entra_mdm_api_own_origin(r, value))',
        '&& !ngx_http_entra_mdm_api_own_origin(r, value)
            && value->len == 0)', 'api-roles' ],
    [ 'a change is application/json', $glue,
        'if (!ngx_http_entra_mdm_api_is_json(r)) {',
        'if (!ngx_http_entra_mdm_api_is_json(r)
        && r->headers_in.content_type == NULL) {', 'api-config' ],
    [ 'If-Match names the lists in force', $glue,
        'if ((size_t) (end - p) == len && ngx_memcmp(p, tag, len) == 0) {',
        'if ((size_t) (end - p) == len && ngx_memcmp(p, tag, 0) == 0) {',
        'api-config' ],
    [ 'no API in a subrequest', $glue,
        'if (r != r->main) {
        return NGX_HTTP_FORBIDDEN;
    }

    if (!ngx_http_entra_mdm_api_direct(r)) {',
        'if (r == r->main && !ngx_http_entra_mdm_api_direct(r)) {',
        'api-roles' ],
    [ 'a maintainer reads', $glue,
        '{ ngx_string("maintainer"), READ },',
        '{ ngx_string("maintainer"), READ|CHANGE },', 'api-authentication' ],
    [ 'in GitOps mode only gitops changes', $glue,
        'return !emlcf->api_gitops', 'return emlcf->api_gitops < 2',
        'api-authentication' ],
    [ 'the author is whom nginx knows', $glue,
        'if (emlcf->api_actor != NULL) {',
        'if (emlcf->api_actor && r->headers_in.authorization == NULL) {',
        'api-authentication' ],
    [ 'another site changes nothing', $glue,
        '(&h[i], "sec-fetch-site")', '(&h[i], "sec-fetch-sites")',
        'api-roles' ],
    [ 'a change is of the lists that were seen', $glue,
        'h = patch->r->headers_in.if_match;

    if (h == NULL) {',
        'h = patch->r->headers_in.if_match;

    if (h == NULL || h->value.len > 60) {', 'api-config' ],
    [ 'nobody changes Redis meanwhile', $glue,
        'words[1] = keys[ENTRA_CLIENT_IDS];
    words[2] = keys[ENTRA_TENANT_IDS];',
        'words[1] = keys[ENTRA_TENANT_IDS];
    words[2] = keys[ENTRA_TENANT_IDS];', 'api-redis-nodes' ],
    [ 'a change is one activity of all nodes', $glue,
        'account->valid[i] = (reply->integer != 0) == account->added[i];',
        'account->valid[i] = (reply->integer != 2);', 'api-redis-nodes' ],
    [ 'no more activities than their ring keeps', "$core/entra_activities.c",
        '*first <= last - activities->room', '*first < last - activities->room',
        'test_activities' ],
);
