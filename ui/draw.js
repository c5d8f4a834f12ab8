/*
 * Draws what the model knows, again and again.  What has not changed is left
 * alone, so that no focus and no scroll position is lost.
 */

import {
    GUID, has, inForce, list, model, now, readOnly, refresh, role, source,
    text,
} from './model.js';
import {
    $, act, ago, allow, element, guid, icon, moveTip, notice, number, plural,
    redraw, seconds, time,
} from './dom.js';
import {
    KINDS, addNow, confirmDelete, confirmDrop, confirmKeep, sizes,
} from './dialogs.js';


export const ROWS = 100;        /* of a list, rendered at a time */
const FILTER_FROM = 9;          /* entries from which on a filter is offered */
const DAY = 86400;              /* seconds */

const ACTIVITIES = {
    added_microsoft_entra_client_id: ['added client ID', 'client_id'],
    deleted_microsoft_entra_client_id: ['deleted client ID', 'client_id'],
    added_microsoft_entra_tenant: ['added tenant', 'tenant_id'],
    deleted_microsoft_entra_tenant: ['deleted tenant', 'tenant_id'],
};

export const view = {
    client: { filter: '', shown: ROWS, drawn: '' },
    tenant: { filter: '', shown: ROWS, drawn: '' },
};

export function draw()
{
    $('main').setAttribute('aria-busy', String(!model.config && !model.away));
    $('tip').textContent = readOnly();
    drawTop();
    drawStale();
    drawNotices();
    Object.keys(KINDS).forEach(drawList);
    drawStatus();
    drawRefusals();
    drawActivities();
    moveTip();
}

function drawTop()
{
    const { status } = model;
    const user = text(status && status.actor);
    const policy = text(status && status.policy);
    const at = model.loaded && model.loaded.toLocaleTimeString('en-GB');

    $('policy').textContent = policy ? ` \u00b7 policy ${policy}` : '';
    $('who').hidden = !user && !role();
    $('who').replaceChildren(
        ...(user ? ['Signed in as ', element('strong', {}, user)] : []),
        ...(role() ? [`${user ? ' \u00b7 ' : ''}role ${role()}`] : []));
    $('live').className = `live ${model.away ? 'warn' : 'good'}`;
    $('live-text').textContent = !model.away ? `Live, updated ${at}`
        : at ? `Stale, from ${at}` : 'Not connected';
}

/* drawn only when it changes, since it is read out each time */

function drawStale()
{
    const why = model.away ? model.away.message : '';
    const at = model.loaded && model.loaded.toLocaleTimeString('en-GB');

    if ($('stale').dataset.why === why) {
        return;
    }
    $('stale').dataset.why = why;
    if (!why) {
        $('stale').replaceChildren();
        return;
    }

    const retry = element('button', { type: 'button', className: 'button' },
                          model.away.status === 401 ? 'Reload the page'
                                                    : 'Try again now');
    retry.addEventListener('click', () => (
        model.away && model.away.status === 401 ? window.location.reload()
                                                : refresh(true)));
    $('stale').replaceChildren(notice('warn', why,
        element('p', {}, model.loaded
            ? `What you see is from ${at}. This page keeps trying.`
            : 'There is nothing to show yet. This page keeps trying.'),
        element('div', { className: 'actions' }, retry)));
}

function drawNotices()
{
    const why = model.config ? readOnly() : '';
    const lost = source() === 'lost';
    const state = (model.status && model.status.state) || {};
    const idle = !inForce();
    const key = [why, lost, idle, state.failing,
                 model.config && sizes()].join('|');

    if ($('notices').dataset.key === key) {
        return;
    }
    $('notices').dataset.key = key;
    redraw($('notices'), $('main'), () => $('notices').replaceChildren(
        ...(lost && model.config ? [lostNotice()] : []),
        ...(idle ? [notice('bad', 'These lists are not in force',
            element('p', {}, 'This node has not heard of Redis for longer '
                + 'than "max_stale", or never: devices that depend on these '
                + 'lists are told to try again later.'))] : []),
        ...(state.failing ? [notice('bad', 'The state file cannot be written',
            element('p', {}, 'The lists are in force, but would be lost if '
                + 'nginx were restarted now. error.log says why; is the disk '
                + 'full?'))] : []),
        ...(why ? [notice('info', 'Read-only',
                          element('p', {}, why))] : [])));
}

function lostNotice()
{
    const keep = element('button', { type: 'button', className: 'button',
                                     'data-key': 'keep' },
                         'Write the lists back');
    const drop = element('button', { type: 'button', className: 'button',
                                     'data-key': 'drop' },
                         'Empty the lists');

    keep.addEventListener('click', (event) => act(event, confirmKeep));
    drop.addEventListener('click', (event) => act(event, confirmDrop));
    return notice('bad', 'Redis has lost its data',
        element('p', {}, 'Both lists vanished from Redis together, which looks '
            + 'like a restart without data rather than like a decision. The '
            + `${sizes()} below ${inForce() ? 'stay in force' : 'are kept'} `
            + 'on this node.'),
        element('p', {}, 'Bring the data back (it is noticed at once), or '
            + 'decide here what the lists shall be.'),
        element('div', { className: 'actions' }, allow(keep), allow(drop)));
}


/* the lists */

export function entries(kind)
{
    const { lists, fixed } = model.config;
    const wanted = view[kind].filter;
    const matches = (id) => !wanted || id.toLowerCase().includes(wanted);

    return [
        ...fixed[kind].filter(matches).map((id) => ({ id, locked: true })),
        ...lists[kind].filter(matches).map((id) => ({ id, locked: false })),
    ];
}

export function drawList(kind)
{
    allow($(`${kind}-add`));
    if (!model.config) {
        drawEmpty(kind, 0);
        return;
    }

    const { lists, fixed } = model.config;
    const total = lists[kind].length + fixed[kind].length;
    const found = entries(kind);
    const drawn = [readOnly(), view[kind].filter, ...fixed[kind], '',
                   ...lists[kind]].join('\n');

    if (view[kind].drawn === drawn) {
        return;
    }
    view[kind].drawn = drawn;

    $(`${kind}-count`).textContent = view[kind].filter
        ? `${number(found.length)} of ${number(total)}` : number(total);
    $(`${kind}-filter-row`).hidden = total < FILTER_FROM && !view[kind].filter;
    $(`${kind}-skip`).hidden = found.length < FILTER_FROM;
    redraw($(`${kind}-scroll`), $(`${kind}-heading`), () => {
        const rows = found.slice(0, view[kind].shown)
            .map((entry) => row(kind, entry));
        $(`${kind}-list`).replaceChildren(...rows);
        drawMore(kind, rows.length, found.length);
    });
    drawEmpty(kind, found.length);
}

function row(kind, { id, locked })
{
    const item = element('li', {}, guid(id));

    if (locked) {
        item.append(element('span', { className: 'locked',
            title: 'Configured in nginx.conf, and changed only there' },
            icon('lock'), element('span', { className: 'hide-visually' },
                                  'locked, from '), 'nginx.conf'));
        return item;
    }

    const remove = element('button', {
        type: 'button', className: 'button button-icon',
        'data-key': `delete-${id}`,
    }, icon('trash'));
    remove.addEventListener('click',
        (event) => act(event, () => confirmDelete(kind, id)));
    item.append(allow(remove, `Delete ${KINDS[kind].noun} ${id}`));
    return item;
}

function drawMore(kind, shown, total)
{
    const box = $(`${kind}-more`);

    box.hidden = shown >= total;
    if (box.hidden) {
        box.replaceChildren();
        return;
    }
    const button = element('button', {
        type: 'button', className: 'button button-small', 'data-key': 'more',
    }, 'Show more');
    button.addEventListener('click', () => showMore(kind));
    box.replaceChildren(button, element('span', {},
        `Showing ${number(shown)} of ${number(total)}`));
}

/* appends, so that neither the scroll position nor the focus is lost */

export function showMore(kind)
{
    const found = entries(kind);
    const from = view[kind].shown;
    const rows = found.slice(from, from + ROWS).map((e) => row(kind, e));
    const focused = $(`${kind}-more`).contains(document.activeElement);

    view[kind].shown += ROWS;
    $(`${kind}-list`).append(...rows);
    drawMore(kind, Math.min(view[kind].shown, found.length), found.length);
    if (focused) {
        ($(`${kind}-more`).querySelector('button') || $(`${kind}-heading`))
            .focus();
    }
}

function drawEmpty(kind, found)
{
    const box = $(`${kind}-empty`);
    const { emptyTitle, emptyText } = KINDS[kind];

    box.hidden = found > 0;
    if (!model.config) {
        box.replaceChildren(model.away ? 'Not loaded' : 'Loading');
    } else if (view[kind].filter) {
        box.replaceChildren('Nothing matches the filter.');
    } else {
        box.replaceChildren(element('strong', {}, emptyTitle), emptyText);
    }
}


/* status */

function fact(name, level, value, detail)
{
    return element('div', { className: level },
        element('dt', {}, name),
        element('dd', {},
            element('span', { className: 'dot', 'aria-hidden': 'true' }),
            element('span', {}, element('span', { className: 'value' }, value),
                ...(detail ? [document.createElement('br'),
                    element('span', { className: 'detail' }, detail)] : []))));
}

function sourceFact({ redis, state })
{
    const detail = [];

    if (!inForce()) {
        return fact('Lists', 'bad', 'Not in force',
                    'Redis has not confirmed them in time.');
    }
    if (source() === 'lost') {
        return fact('Lists', 'bad', 'Redis has lost its data',
                    'The last known lists stay in force.');
    }
    if (!redis && !state) {
        return fact('Lists', 'warn', 'Kept in memory only', 'There is neither '
                    + 'Redis nor a state file: changes end with nginx.');
    }
    if (!redis) {
        return fact('Lists', 'good', 'Kept by this node',
                    'Without Redis, in the state file.');
    }
    if (!redis.connected) {
        return fact('Lists', 'warn', 'Redis is not connected',
                    'The last known lists stay in force.');
    }
    if (typeof redis.last_update_seconds === 'number') {
        detail.push(`Read ${ago(redis.last_update_seconds)}.`);
    }
    if (redis.tracking === false) {
        detail.push('Changes are found by polling.');
    }
    return fact('Lists', 'good', 'Redis, connected', detail.join(' '));
}

function keysFact(keys)
{
    const age = keys.age_seconds;
    const failing = keys.last_fetch === 'failed';

    if (!keys.usable) {
        return fact('Signing keys', 'bad', 'None usable',
                    'Nobody can enroll until they are fetched.');
    }
    return fact('Signing keys', failing ? 'warn' : 'good',
        plural(keys.count, 'key'),
        [typeof age === 'number' ? `Fetched ${ago(age)}.` : '',
         failing ? 'Fetching them again fails: see error.log.' : '']
            .filter(Boolean).join(' '));
}

function stateFact(state)
{
    if (state.failing) {
        return fact('State file', 'bad', 'Writing fails', 'See error.log.');
    }
    return fact('State file', 'good', 'Written',
        state.failed ? `${plural(state.failed, 'failure')} since the start.`
                     : '');
}

function decisionsFact({ total: decisions = {} })
{
    const sum = (action) => Object.values(decisions[action] || {})
        .reduce((a, b) => a + Number(b), 0);
    const rest = [['passed', 'device tokens passed'],
                  ['would_refuse', 'only logged (dry run)']]
        .filter(([action]) => sum(action))
        .map(([action, words]) => `${number(sum(action))} ${words}`);

    return fact('Requests since the start', 'none',
        `${number(sum('accepted'))} accepted, `
            + `${number(sum('refused'))} refused`,
        rest.join(', '));
}

function drawStatus()
{
    const status = model.status;

    if (!status) {
        return;
    }
    const skipped = Object.values((status.redis && status.redis.skipped_members)
                                  || {}).reduce((a, b) => a + Number(b), 0);
    $('status').replaceChildren(
        sourceFact(status),
        ...(skipped ? [fact('Skipped in Redis', 'warn',
            `${number(skipped)} ${skipped === 1 ? 'entry' : 'entries'}`,
            'Not GUIDs: error.log names them.')] : []),
        ...(status.keys ? [keysFact(status.keys)] : []),
        ...(status.state ? [stateFact(status.state)] : []),
        ...(status.decisions ? [decisionsFact(status.decisions)] : []));
}


/* refusals */

/* of the last hour, by reason, the most frequent first */

function tally({ last_hour: hour = {} })
{
    const count = (action, note) => Object.entries(hour[action] || {})
        .map(([key, n]) => ({ key, n: Number(n), note }));

    return [...count('refused', ''), ...count('would_refuse', 'dry run')]
        .sort((a, b) => b.n - a.n);
}

/* distinct audiences that an administrator may want to let in */

function suggestions()
{
    const found = new Map();

    for (const refusal of list(model.status.refusals)) {
        if (!refusal || refusal.key !== 'audience_not_allowed'
            || refusal.tenant_listed !== true
            || !(seconds(refusal.time) > now() - DAY))
        {
            continue;
        }
        for (const audience of list(refusal.audiences).map(String)) {
            const id = audience.trim().toLowerCase();
            if (GUID.test(id) && model.config && has('client', id)) {
                continue;
            }
            const known = found.get(id) || { id, audience, times: 0, refusal };
            known.times += 1;
            if (seconds(refusal.time) > seconds(known.refusal.time)) {
                known.refusal = refusal;
            }
            found.set(id, known);
        }
    }
    return [...found.values()];
}

function drawRefusals()
{
    if (!model.status) {
        return;
    }

    const counts = tally(model.status.decisions || {});
    const offers = suggestions();
    const drawn = JSON.stringify([counts, offers, readOnly()]);

    if ($('refusals').dataset.drawn === drawn) {
        return;
    }
    $('refusals').dataset.drawn = drawn;

    $('refusals').replaceChildren(counts.length
        ? element('ul', { className: 'tally' }, ...counts.map(reason))
        : element('p', { className: 'quiet' }, 'None.'));
    redraw($('suggestions'), $('refusals-heading'), () => {
        $('suggestions').replaceChildren(...(offers.length ? [
            element('h3', {}, 'Unknown applications'),
            element('p', { className: 'quiet' },
                'Users of your tenants tried to enroll through these.'),
            ...offers.map(suggestion)] : []));
    });
}

function reason({ key, n, note })
{
    return element('li', {},
        element('span', {}, element('code', {}, key),
            note ? element('span', { className: 'quiet' }, ` ${note}`) : null),
        element('span', { className: 'number' }, number(n)));
}

function suggestion({ id, audience, times, refusal })
{
    const head = element('div', { className: 'suggestion-head' },
                         guid(GUID.test(id) ? id : audience));

    if (GUID.test(id)) {
        const button = element('button', {
            type: 'button', className: 'button button-small',
            'data-key': `offer-${id}`,
        }, 'Add');
        button.addEventListener('click', (event) => act(event,
            () => addNow(button, id)));
        head.append(allow(button, `Add client ID ${id}`));
    }
    return element('div', { className: 'suggestion' }, head,
        element('p', { className: 'quiet' },
            `${plural(times, 'time')}, last `, time(refusal.time), ', tenant ',
            guid(text(refusal.tenant))),
        GUID.test(id) ? null : element('p', { className: 'quiet' },
            'Not a client ID: it belongs to server_url in nginx.conf, or to '
            + 'another application.'),
        text(refusal.request_id) ? element('p', { className: 'quiet' },
            'Trace ID ', element('code', { className: 'guid' },
                                 text(refusal.request_id))) : null);
}


/* activities */

function activity(entry)
{
    const { type, actor, created_at: at, details } = entry || {};
    const [words, field] = Object.hasOwn(ACTIVITIES, type) ? ACTIVITIES[type]
                           : [text(type).replace(/_/g, ' ')];
    const id = text(details && details[field]);
    const as = text(entry && entry.role);

    return element('li', {},
        element('span', { className: 'what' },
            element('strong', {}, text(actor) || 'somebody'), ` ${words} `,
            id ? guid(id) : null),
        element('span', { className: 'quiet' },
            as && as !== actor ? `${as} \u00b7 ` : '', time(at)));
}

function drawActivities()
{
    const answer = model.activities;

    $('activities-unread').hidden = !model.unread || Boolean(model.away);
    $('activities-unread').textContent = 'The activities cannot be read now. '
        + model.unread;
    if (!answer) {
        return;
    }
    const drawn = JSON.stringify(answer) + model.page;
    if ($('activities').dataset.drawn === drawn) {
        return;
    }
    $('activities').dataset.drawn = drawn;

    const { has_next_results: older } = answer.meta || {};
    const items = list(answer.activities).map(activity);
    $('activities').replaceChildren(...items);
    $('activities-empty').hidden = items.length > 0;
    $('activities-empty').replaceChildren(element('strong', {},
        'No activity yet'), 'Every change of the lists will be noted here.');
    $('pager').hidden = !older && model.page === 0;
    $('page-number').textContent = `Page ${number(model.page + 1)}`;
    $('older').setAttribute('aria-disabled', String(!older));
    $('newer').setAttribute('aria-disabled', String(model.page === 0));
}
