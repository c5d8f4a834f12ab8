/*
 * What the page knows, and how it learns it: the calls of the API, when they
 * are made, and what their failures mean.  Knows nothing of the page's looks;
 * whoever draws it is told of news by the function given to whenNews().
 */

const PER_PAGE = 10;
const POLL = 10;                /* seconds, as are all times below */
const FULL_EVERY = 6;           /* 304 says nothing of nginx.conf's IDs */
const BACKOFF_MAX = 60;
const TIMEOUT = 20;

const FIELDS = {
    client: 'windows_entra_client_ids',
    tenant: 'windows_entra_tenant_ids',
};

export const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/* what is known; null: not yet */
export const model = {
    config: null,
    etag: '',
    status: null,
    activities: null,
    unread: '',                 /* why there are no fresh ones */
    page: 0,
    mayChange: null,            /* as the API says */
    forbidden: false,           /* a change was answered 403 */
    away: null,                 /* why there is no fresh data */
    loaded: null,               /* when the last data came */
    skew: 0,                    /* the server's clock less ours */
    reads: 0,                   /* only the latest one counts */
    failures: 0,
    polls: 0,
    timer: 0,
};

let news = () => {};            /* told whether the API came back */

const api = new URL(document.documentElement.dataset.api || 'api/',
                    document.baseURI);

/* of a value from outside, whatever it is */
export const list = (value) => (Array.isArray(value) ? value : []);
export const text = (value) => (typeof value === 'string' ? value : '');

export const now = () => Date.now() / 1000 + model.skew;

export function whenNews(tell)
{
    news = tell;
}


/*** calling the API ***/

class Failure extends Error
{
    constructor(status, reason)
    {
        super(reason);
        this.status = status;
    }
}

const STATUS_TEXTS = {
    401: 'You are not signed in any more. Reload this page to sign in.',
    403: 'Your account may not do this.',
    404: 'There is no API at this address.',
    413: 'The list is too long for the API; longer lists belong in Redis.',
    429: 'There are too many requests.',
    502: 'The gateway cannot reach the API.',
    504: 'The API did not answer in time.',
};

/* the API's own words, if the answer is its; else what the status means */

function reason(status, body)
{
    const said = list(body && body.errors).map((e) => text(e && e.reason))
        .filter((said) => said !== '').join(' ')
        || text(body && body.message);

    if (status === 401 || !said) {
        return STATUS_TEXTS[status] || `The API answers with status ${status}.`;
    }
    return said;
}

/*
 * The mode stays "cors": with "same-origin" a browser that is told to send no
 * referrer would send "Origin: null" along with a change, which the API
 * refuses.  A redirect is somebody's sign-in page, and not followed.
 */

async function call(path, options)
{
    let response;
    let body = null;

    try {
        response = await fetch(new URL(path, api), {
            cache: 'no-store', redirect: 'manual',
            signal: AbortSignal.timeout(TIMEOUT * 1000), ...options,
        });
    } catch (error) {
        throw new Failure(0, error.name === 'TimeoutError'
            ? 'The server does not answer.'
            : 'The server cannot be reached.');
    }

    if (response.type === 'opaqueredirect') {
        throw new Failure(401, STATUS_TEXTS[401]);
    }

    const date = Date.parse(response.headers.get('Date'));
    if (!Number.isNaN(date)) {
        model.skew = (date - Date.now()) / 1000;
    }
    if (response.status === 304) {
        return { response, body };
    }

    try {
        body = await response.json();
    } catch (error) {
        if (response.ok) {
            throw new Failure(response.status,
                'What answers at the address of the API is not the API.');
        }
    }

    if (!response.ok) {
        throw new Failure(response.status, reason(response.status, body));
    }
    return { response, body };
}

function takeConfig({ response, body })
{
    const mdm = body && body.mdm;
    const fixed = (body && body.static) || {};

    if (response.status === 304) {
        return;
    }
    model.config = {
        source: text(body && body.source),
        gitops: Boolean(body && body.gitops_mode),
        lists: {},
        fixed: {},
    };
    for (const [kind, field] of Object.entries(FIELDS)) {
        model.config.lists[kind] = list(mdm && mdm[field]).map(String);
        model.config.fixed[kind] = list(fixed[field]).map(String);
    }

    /* gzip makes nginx weaken it, and If-Match compares strongly */
    model.etag = text(response.headers.get('ETag')).replace(/^W\//, '');
}

function takeStatus({ body })
{
    model.status = body || {};
    if (typeof model.status.may_change === 'boolean') {
        model.mayChange = model.status.may_change;
    }
}

async function loadConfig(full)
{
    const headers = model.etag && !full ? { 'If-None-Match': model.etag } : {};
    return call('config', { headers });
}


/*** reading and changing ***/

/*
 * Reads everything.  An answer that was on its way while something was
 * changed, or asked for anew, is older than what is shown, and dropped.
 * Activities are asked of Redis, and the rest of the node, which has it while
 * Redis is away: without them the page is not stale.
 */

export async function refresh(full)
{
    const { page } = model;
    const read = model.reads += 1;

    clearTimeout(model.timer);
    model.polls += 1;
    const [config, status, activities] = await Promise.allSettled([
        loadConfig(full || model.polls % FULL_EVERY === 1),
        call('status'),
        call(`activities?page=${page}&per_page=${PER_PAGE}`),
    ]);

    if (read !== model.reads) {
        return;
    }
    if (config.status === 'fulfilled') {
        takeConfig(config.value);
    }
    if (status.status === 'fulfilled') {
        takeStatus(status.value);
    }
    if (activities.status === 'fulfilled') {
        model.activities = activities.value.body || {};
    }
    model.unread = activities.reason ? activities.reason.message : '';
    const failed = [config, status].find((r) => r.reason);
    settle(failed ? failed.reason : null);
}

function settle(failure)
{
    const returned = model.away && !failure;
    let wait = POLL;

    model.away = failure;
    if (failure) {
        wait = Math.min(BACKOFF_MAX, 2 ** (model.failures += 1));
        wait *= 0.75 + Math.random() / 2;
    } else {
        model.failures = 0;
        model.loaded = new Date();
    }
    clearTimeout(model.timer);
    if (document.visibilityState === 'visible') {
        model.timer = setTimeout(() => refresh(), wait * 1000);
    }
    news(Boolean(returned));
}

/*
 * Replaces the lists that are named.  While Redis has lost its data, both are
 * sent: whoever decides does so about what he sees, all of it.
 */

export async function patch(changes)
{
    const lists = { ...changes };
    const mdm = {};

    if (source() === 'lost') {
        Object.keys(FIELDS).forEach((kind) => {
            lists[kind] = lists[kind] || model.config.lists[kind];
        });
    }
    for (const [kind, ids] of Object.entries(lists)) {
        mdm[FIELDS[kind]] = ids;
    }

    const headers = { 'Content-Type': 'application/json' };
    if (model.etag) {
        headers['If-Match'] = model.etag;
    }

    try {
        const body = JSON.stringify({ mdm });
        const answer = await call('config', { method: 'PATCH', headers, body });
        model.reads += 1;
        takeConfig(answer);
        if (model.status) {
            model.status.source = model.config.source;
        }
    } catch (failure) {
        await explain(failure);
        throw failure;
    }
    news(false);
    refresh(true);
}

/* what a failed change means for the page; mends the text of the failure */

async function explain(failure)
{
    const unknown = [0, 502, 504].includes(failure.status)
                    || /outcome unknown/i.test(failure.message);

    if (failure.status === 403) {
        model.forbidden = true;
        news(false);

    } else if (failure.status === 412) {
        await refresh(true);
        failure.message = 'The lists have been changed by somebody else '
            + 'meanwhile, and were loaded again. Nothing was changed by you: '
            + 'please check, and try again.';

    } else if (/not in force here yet/.test(failure.message)) {
        await refresh(true);

    } else if (unknown) {
        await refresh(true);
        failure.message += model.away
            ? ' Whether the change was made is not known.'
            : ' The lists were loaded again: please check whether the change '
              + 'was made.';
    }
}


/*** what may be done ***/

export const source = () => text(model.status && model.status.source)
                     || (model.config ? model.config.source : '');
export const inForce = () => !model.status || model.status.in_force !== false;
export const role = () => text(model.status && model.status.role);

/* why nothing can be changed here; '': it can */

export function readOnly()
{
    const gitops = Boolean(model.config && model.config.gitops);

    if (!model.config) {
        return 'The lists have not been loaded yet.';
    }
    if (gitops && role() !== 'gitops' && model.mayChange !== true) {
        return 'GitOps mode is on: change the lists in your repository.';
    }
    if (model.mayChange === false || model.forbidden) {
        return role()
            ? `Your role, ${role()}, may look but not change anything.`
            : 'Your account may look but not change anything.';
    }
    return '';
}

/* where it is, whatever its case; '': nowhere */

export function has(kind, id)
{
    const { lists, fixed } = model.config;
    const same = (other) => other.toLowerCase() === id.toLowerCase();

    return fixed[kind].some(same) ? 'nginx.conf'
           : lists[kind].some(same) ? 'list' : '';
}
