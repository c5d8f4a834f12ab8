/* The API away, somebody else's changes, roles, lost data, hostile texts. */

'use strict';

const {
    A, B, C, T, add, clients, tenants, dialog, success, stale, region, refusal,
    minutes,
} = require('./helpers.js');

async function readOnly({ page, control, t }, why)
{
    const buttons = [
        clients(page).getByRole('button', { name: /^Add/ }),
        clients(page).getByRole('button', { name: A }),
        tenants(page).getByRole('button', { name: /^Add/ }),
        page.getByRole('button', { name: `Add client ID ${B}` }),
    ];

    await t.see(page.locator('#notices').getByText(why), 'said up front');
    await page.setViewportSize({ width: 360, height: 300 });
    for (const button of buttons) {
        t.is(await button.getAttribute('aria-disabled'), 'true', 'disabled');
        await button.focus();
        await t.see(page.getByRole('tooltip').getByText(why),
            'why: by keyboard');
        await t.eventually(() => button.evaluate((node) => {
            const at = node.getBoundingClientRect();
            const tip = document.getElementById('tip').getBoundingClientRect();
            return at.top >= 0 && at.bottom <= window.innerHeight
                && tip.left >= 0 && tip.right <= window.innerWidth
                && tip.height < 80
                && (Math.abs(tip.top - at.bottom) < 10
                    || Math.abs(at.top - tip.bottom) < 10);
        }), 'beside the button, wherever that was scrolled to');
        t.is(await button.evaluate((node) => document.getElementById(
            node.getAttribute('aria-describedby')).textContent), why,
            'why: to a screen reader');
        await page.keyboard.press('Enter');
        t.is(await dialog(page).count(), 0, 'Enter does nothing');
        await page.keyboard.press('Escape');
        await t.gone(page.getByRole('tooltip'), 'Escape hides the tooltip');
        await page.mouse.move(1, 1);
        await button.hover({ force: true });
        await t.see(page.getByRole('tooltip').getByText(why), 'why: by mouse');
        await button.click({ force: true });
        t.is(await dialog(page).count(), 0, 'nor does a click');
        await page.mouse.move(1, 1);
    }
    t.is((await control()).patches, 0, 'the API was not asked');
}


module.exports = [

    {
        name: 'observer',
        user: 'otto',
        state: { client: [A], refusals: [refusal({ audiences: [B] })] },
        async run(scenario)
        {
            await readOnly(scenario, 'Your role, observer, may look but not '
                + 'change anything.');
        },
    },

    {
        name: 'GitOps mode',
        state: { client: [A], gitops: 1,
                 refusals: [refusal({ audiences: [B] })] },
        async run(scenario)
        {
            await readOnly(scenario,
                'GitOps mode is on: change the lists in your repository.');
        },
    },

    {
        name: 'GitOps mode, by the pipeline',
        user: 'pipeline',
        state: { gitops: 1 },
        async run({ page, control, t })
        {
            await add(page, clients(page), A);
            await t.see(success(page), 'it may');
            t.is((await control()).client, [A], 'and does');
        },
    },

    {
        name: 'a role that may not even read',
        user: 'mallory',
        failing: /status of 403/,
        async run({ page, t })
        {
            await t.see(stale(page).getByText('may not use the API'), 'told');
        },
    },

    {
        name: 'one-click add',
        state: {
            client: [A], tenant: [T], refusals: [
                refusal({ audiences: [B.toUpperCase()] }),
                refusal({ audiences: [B], time: minutes(20) }),
                refusal({ audiences: ['api://another'] }),
                refusal({ audiences: [A] }),
                refusal({ audiences: [T], tenant_listed: false }),
                refusal({ audiences: [T], time: minutes(60 * 25) }),
                refusal({ key: 'tenant_not_allowed', tenant_listed: false }),
            ],
            decisions: { last_hour: {
                accepted: { ok: 7 },
                refused: { token_expired: 2, no_token: 12 },
                would_refuse: { tenant_not_allowed: 5 } } },
        },
        async run({ page, control, t })
        {
            const part = region(page, 'Refused in the last hour');
            const tally = part.locator('.tally');

            t.is((await tally.innerText()).split('\n'), ['no_token', '12',
                'tenant_not_allowed dry run', '5', 'token_expired', '2'],
                'by reason, of the last hour');
            t.is(await part.getByRole('button').count(), 1,
                'only what may be let in is offered');
            await t.see(part.getByText('2 times'), 'how often');
            await t.see(part.getByText('api://another'), 'no client ID: shown');
            await part.getByRole('button', { name: `Add client ID ${B}` })
                .click();
            await t.see(success(page).getByText(
                `Successfully added client ID ${B}`), 'success is told');
            t.is((await control()).client, [A, B], 'added');
            await t.gone(part.getByRole('button'), 'not offered any more');
            t.is(await page.evaluate(() => document.activeElement.id),
                'refusals-heading', 'the focus is kept near');
        },
    },

    {
        name: 'conflict',
        state: { client: [A], rival: { client: [A, B] } },
        failing: /status of 412/,
        async run({ page, control, t })
        {
            const mine = C;

            await add(page, clients(page), mine);
            await t.see(dialog(page).getByText('changed by somebody else'),
                'told');
            t.is(await dialog(page).getByRole('textbox').inputValue(), mine,
                'what was typed stays');
            await t.see(page.locator('#client-list').getByText(B),
                'the other change is shown');
            await dialog(page).getByRole('button', { name: 'Add' }).click();
            await t.see(success(page), 'once more');
            t.is((await control()).client, [A, B, mine], 'both are kept');

            await control({ rival: { client: [A] } });
            await clients(page).getByRole('button', { name: mine }).click();
            await dialog(page).getByRole('button', { name: 'Delete' }).click();
            await t.see(dialog(page).getByText('changed by somebody else'),
                'deleting: told');
            await dialog(page).getByRole('button', { name: 'Delete' }).click();
            await t.see(success(page).getByText('deleted'), 'once more');
            t.is((await control()).client, [A], 'as both wanted it');
        },
    },

    {
        name: 'API away and back',
        clock: true,
        state: { client: [A] },
        failing: /status of 502|ERR_/,
        async run({ page, context, control, t })
        {
            await control({ down: 1 });
            await page.clock.runFor(11000);
            await t.see(stale(page).getByText('cannot reach the API'),
                'what is wrong');
            await t.see(page.getByText(/^Stale, from/), 'marked stale');
            await t.see(clients(page).getByText(A), 'the last data stay');

            await add(page, clients(page), B);
            await t.see(dialog(page).getByText('is not known'),
                'a change meanwhile');
            t.is(await dialog(page).getByRole('textbox').inputValue(), B,
                'what was typed stays');
            await page.keyboard.press('Escape');

            await control({ down: 0, client: [A, B] });
            await page.clock.runFor(61000);
            await t.see(success(page).getByText('connection is back'), 'back');
            await t.see(clients(page).getByText(B), 'with new data');
            await t.gone(stale(page).getByRole('button'), 'not stale any more');

            await context.setOffline(true);
            await page.clock.runFor(11000);
            await t.see(stale(page).getByText('The server cannot be reached.'),
                'no network');
            await context.setOffline(false);
            await t.see(page.getByText(/^Live/), 'and at once when it is back');
        },
    },

    {
        name: 'backoff',
        clock: true,
        state: { status: 503 },
        failing: /status of 503/,
        async run({ page, t })
        {
            const times = [];
            page.on('request', (request) => {
                if (/config$/.test(request.url())) {
                    times.push(1);
                }
            });

            await t.see(stale(page).getByText('made to fail'),
                'a failure from the start is told');
            await t.see(clients(page).getByText('Not loaded'), 'nothing shown');
            t.is(await clients(page).getByRole('button', { name: /^Add/ })
                .getAttribute('aria-disabled'), 'true', 'nothing to change');
            for (let i = 0; i < 30; i += 1) {
                const answer = page.waitForResponse(/activities/,
                    { timeout: 300 }).catch(() => null);
                await page.clock.runFor(20000);
                await answer;
            }
            t.ok(times.length >= 5 && times.length <= 20,
                'tries again, ever more rarely', `${times.length} in 600 s`);
        },
    },

    {
        name: 'signed out',
        failing: /status of 401/,
        async run({ page, control, t })
        {
            await control({ status: 401 });
            await add(page, clients(page), A);
            await t.see(dialog(page).getByText('not signed in any more'),
                'told');
            await page.keyboard.press('Escape');
            await page.evaluate(() => {
                window.dispatchEvent(new Event('online'));
            });
            await t.see(stale(page).getByRole('button',
                { name: 'Reload the page' }), 'what to do');

            await control({ status: 0 });
            await page.reload();
            await t.see(page.getByText(/^Live/), 'signed in again');
            await control({ status: 302 });
            await add(page, clients(page), A);
            await t.see(dialog(page).getByText('not signed in any more'),
                'nor is a sign-in page followed');
        },
    },

    {
        name: 'a gateway that compresses',
        state: { weak: 1, client: [A] },
        async run({ page, control, t })
        {
            await add(page, clients(page), B);
            await t.see(success(page), 'weakens the tag: no matter');
            t.is((await control()).client, [A, B], 'added');
        },
    },

    {
        name: 'a dialog closed too early',
        failing: /status of 503/,
        async run({ page, t })
        {
            for (const status of [0, 503]) {
                let answer;
                const asked = new Promise((resolve) => {
                    page.route('**/config', (route) => {
                        if (route.request().method() !== 'PATCH') {
                            route.fallback();
                            return;
                        }
                        answer = () => (status
                            ? route.fulfill({ status, json: {
                                message: 'on purpose' } })
                            : route.continue());
                        resolve();
                    });
                });

                await add(page, clients(page), status ? B : A);
                await asked;
                await page.keyboard.press('Escape');
                await t.gone(dialog(page), 'Escape closes it');
                await answer();
                await t.see(status ? page.getByText('on purpose')
                                   : success(page), 'the outcome is told');
                await page.unrouteAll();
            }
        },
    },

    {
        name: 'outcome unknown',
        state: { outcome: 'unknown' },
        failing: /status of 503/,
        async run({ page, t })
        {
            await add(page, clients(page), A);
            await t.see(dialog(page).getByText('outcome unknown'),
                'the reason');
            await t.see(dialog(page).getByText('loaded again'), 'what to do');
            await t.see(page.locator('#client-list').getByText(A),
                'what has come of it');
            await dialog(page).getByRole('button', { name: 'Add' }).click();
            await t.see(dialog(page).getByText('already exists'),
                'adding again finds it');
        },
    },

    {
        name: '403 to a change',
        failing: /status of 403/,
        state: { client: [A], patch_status: 403, patch_reason: 'Not you.' },
        async run({ page, t })
        {
            const remove = clients(page).getByRole('button', { name: A });

            await remove.click();
            await dialog(page).getByRole('button', { name: 'Delete' }).click();
            await t.see(dialog(page).getByText('Not you.'), 'the reason');
            await page.keyboard.press('Escape');
            t.is(await remove.getAttribute('aria-disabled'), 'true',
                'the page is read-only from then on');
        },
    },

    {
        name: 'lost',
        state: { source: 'lost', client: [A], tenant: [T],
                 redis: { connected: true } },
        async run({ page, control, t })
        {
            const notices = page.locator('#notices');

            await t.see(notices.getByText('Redis has lost its data'), 'told');
            await t.see(notices.getByText('1 client ID and 1 tenant below stay '
                + 'in force'), 'explained');
            await notices.getByRole('button', { name: 'Write' }).click();
            await dialog(page).getByRole('button', { name: 'Cancel' }).click();
            t.is((await control()).patches, 0, 'cancelled');
            await notices.getByRole('button', { name: 'Write' }).click();
            await dialog(page).getByRole('button', { name: 'Write' }).click();
            await t.see(success(page).getByText('written to Redis'), 'kept');
            await t.gone(notices.getByText('lost'), 'lost no more');
            t.is((await control()).source, 'redis', 'confirmed');
            t.is((await control()).client, [A], 'as they were');

            await control({ source: 'lost' });
            await page.reload();
            await notices.getByRole('button', { name: 'Empty' }).click();
            await dialog(page).getByRole('button', { name: 'Empty' }).click();
            await t.see(success(page).getByText('empty now'), 'emptied');
            t.is((await control()).tenant, [], 'both');

            await control({ source: 'lost', client: [A], tenant: [T] });
            await page.reload();
            await add(page, clients(page), B);
            await t.see(success(page), 'an ordinary change');
            t.is((await control()).source, 'redis', 'confirms too');
            t.is((await control()).tenant, [T], 'and gives nothing up');
        },
    },

    {
        name: 'not in force',
        state: { source: 'redis', in_force: false, client: [A], tenant: [T],
                 redis: { connected: false } },
        async run({ page, control, t })
        {
            await t.see(page.locator('#notices')
                .getByText('not in force'), 'told');
            await t.see(page.locator('#status')
                .getByText('Not in force'), 'in the status as well');
            await t.see(page.getByText(A), 'the lists are still shown');
            await control({ in_force: true });
            await t.gone(page.locator('#notices').getByText('not in force'),
                'until they are');
        },
    },

    {
        name: 'lost, to an observer',
        user: 'otto',
        state: { source: 'lost', client: [A] },
        async run({ page, t })
        {
            t.is(await page.locator('#notices')
                .getByRole('button', { name: 'Write' })
                .getAttribute('aria-disabled'), 'true', 'only to be read');
        },
    },

    {
        name: 'status',
        state: {
            redis: { connected: true, tracking: false, last_update_seconds: 63,
                     skipped_members: { client_ids: 1, tenant_ids: 0 } },
            source: 'redis', state: { failing: true, failed: 2 },
            keys: { usable: true, count: 8, age_seconds: 7300,
                    last_fetch: 'failed' },
            decisions: { total: {
                accepted: { ok: 12345 }, passed: { device_token: 7 },
                refused: { no_token: 4, signature_invalid: 5 } } },
        },
        async run({ page, control, t })
        {
            const part = region(page, 'Status');
            const said = async () => (await part.innerText())
                .replace(/\s+/g, ' ');

            t.like(await said(), /Redis, connected Read 1 minute ago\./,
                'Redis');
            t.like(await said(), /Changes are found by polling/,
                'without tracking');
            t.like(await said(), /1 entry Not GUIDs/, 'skipped');
            t.like(await said(), /8 keys Fetched 2 hours ago\. .*fails/,
                'keys');
            t.like(await said(), /State file Writing fails/, 'state');
            t.like(await said(), /12,345 accepted, 9 refused 7 device tokens/,
                'decisions');
            await t.see(page.locator('#notices')
                .getByText('The state file cannot be written'), 'a notice');

            await control({ redis: { connected: false },
                            keys: { usable: false, count: 0 } });
            await page.reload();
            await t.see(part.getByText('Redis is not connected'), 'away');
            await t.see(part.getByText('Nobody can enroll'), 'no keys');

            await control({ redis: null, keys: null });
            await page.reload();
            await t.see(part.getByText('Kept by this node'), 'without Redis');
            await control({ state: null });
            await page.reload();
            await t.see(part.getByText('Kept in memory only'), 'nor state');
        },
    },

    {
        name: 'hostile texts',
        failing: /status of 422/,
        async run({ page, control, t })
        {
            const evil = (name) => `<img src=x onerror="window.hit='${name}'">`
                + `<script>window.hit='${name}'</script>`;
            const list = [refusal({ audiences: [evil('aud')],
                                    tenant: evil('tenant'),
                                    key: 'audience_not_allowed',
                                    request_id: evil('id') }),
                          refusal({ key: evil('key') })];

            await control({
                tenant: [evil('list')], static_tenant: [evil('static')],
                policy: evil('policy'), refusals: list,
                decisions: { last_hour: { refused: { [evil('key')]: 1 } } },
                activities: [{
                    id: evil('activity'), created_at: evil('time'),
                    type: 'added_microsoft_entra_tenant', actor: evil('actor'),
                    role: evil('role'), details: { tenant_id: evil('detail') },
                }, { type: evil('type'), details: null, actor: 7 }, null],
                patch_status: 422, patch_reason: evil('reason'),
            });
            await page.reload();
            await add(page, clients(page), A);
            await t.see(dialog(page).getByText(evil('reason')), 'a reason');
            await page.keyboard.press('Escape');

            const shown = await page.locator('body').innerText();
            for (const name of ['list', 'static', 'policy', 'aud', 'tenant',
                                'id', 'key', 'time', 'actor', 'role', 'detail'])
            {
                t.ok(shown.includes(evil(name)), `${name} is text`);
            }
            t.is(await page.locator('img, body script').count(), 0,
                'no element of theirs');
            t.is(await page.evaluate(() => window.hit), undefined,
                'nothing has run');
        },
    },

    {
        name: 'what is not the API',
        failing: /status of/,
        async run({ page, context, t })
        {
            const answer = (more) => context.route('**/api/**',
                (route) => route.fulfill({ contentType: 'text/html',
                                           ...more }));
            const again = async () => {
                await page.evaluate(() => {
                    window.dispatchEvent(new Event('online'));
                });
            };

            await answer({ body: '<html>' });
            await again();
            await t.see(stale(page).getByText('is not the API'), 'a page');
            await answer({ status: 404, body: '<html>' });
            await again();
            await t.see(stale(page).getByText('There is no API'), 'nothing');
            await answer({ status: 500, body: 'oops' });
            await again();
            await t.see(stale(page).getByText('answers with status 500'),
                'a failure');
            await answer({ status: 200, contentType: 'application/json',
                           body: '{"mdm":null,"activities":7,"refusals":{}}' });
            await again();
            await t.see(clients(page).getByText('No client IDs added'),
                'nonsense does not break it');
        },
    },
];
