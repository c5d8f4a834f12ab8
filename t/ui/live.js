/*
 * The page over the module itself; t/page-live.t has set the scene, and does
 * what is asked for.  The lists are those that the scenario before has left.
 */

'use strict';

const {
    A, B, C, T, add, clients, tenants, dialog, success, stale, region, focused,
    tabTo,
} = require('./helpers.js');
const { looks } = require('./shots.js');

const D = 'dddddddd-2222-3333-4444-555555555555';
const THEMES = ['light', 'dark'];

/* what a browser does when its network is back; no poll to wait for */
const refresh = (page) => page.evaluate(() => {
    window.dispatchEvent(new Event('online'));
});

async function remove(page, part, id)
{
    await part.getByRole('button', { name: id }).click();
    await dialog(page).getByRole('button', { name: 'Delete' }).click();
    await dialog(page).waitFor({ state: 'hidden' });
}

/* a button that says why it does nothing */

async function refuses({ page, t }, button, why)
{
    t.is(await button.getAttribute('aria-disabled'), 'true', 'disabled');
    await button.focus();
    await t.see(page.getByRole('tooltip').getByText(why), 'with a tooltip');
    await page.keyboard.press('Enter');
    t.is(await dialog(page).count(), 0, 'and does nothing');
}


/* an empty list, a refusal, and the lists' coming and going */

const administrator = (store, at, lists) => ({
    name: `an administrator, ${store}`,
    at,
    async run({ page, settings, t })
    {
        const refused = region(page, 'Refused in the last hour');
        const feed = region(page, 'Activity');
        const field = dialog(page).getByRole('textbox');

        await t.see(clients(page).getByText('No client IDs added'), 'empty');
        await t.see(tenants(page).getByText('nginx.conf'),
            'the tenant is locked');
        await t.see(tenants(page).getByText(T), 'and named');
        t.is(await tenants(page).getByRole('listitem').getByRole('button')
            .count(), 0, 'not to be deleted');
        await t.see(page.getByText(`policy ${store}`), 'the policy');
        await t.see(page.getByText('role admin'), 'the role');
        await t.see(region(page, 'Status').getByText(lists), 'the lists');
        await t.see(region(page, 'Status').getByText('1 key'), 'the keys');
        await t.see(refused.getByText('audience_not_allowed'), 'a reason');
        t.is(await refused.getByRole('button').count(), 1,
            'one ID is offered: that of the verified token');

        await refused.getByRole('button', { name: settings.audience })
            .click();
        await t.see(success(page), 'one click');
        await t.see(clients(page).getByText(settings.audience), 'listed');
        await t.gone(refused.getByRole('button'), 'not offered any more');
        await t.see(feed.getByText(
            `anna added client ID ${settings.audience}`), 'noted');

        for (const id of [B, C]) {
            await add(page, clients(page), id);
            await t.see(clients(page).getByText(id), 'added by dialog');
        }
        await add(page, tenants(page), D);
        await t.see(tenants(page).getByText(D), 'a tenant too');

        await clients(page).getByRole('button', { name: /^Add/ }).click();
        for (const [typed, message] of [
            ['', 'Client ID is required'],
            ['x', 'Invalid UUID. Please provide a valid UUID format.'],
            [B.toUpperCase(),
             "Couldn't add client ID. Client ID already exists."],
        ]) {
            await field.fill(typed);
            await page.keyboard.press('Enter');
            t.is(await page.locator('#add-error').textContent(), message,
                `"${typed}"`);
        }
        await page.keyboard.press('Escape');
        await add(page, tenants(page), T);
        await t.see(dialog(page).getByText('already exists. It is configured '
            + 'in nginx.conf.'), 'what is locked is not added');
        await page.keyboard.press('Escape');

        await remove(page, clients(page), B);
        await t.gone(clients(page).getByText(B), 'deleted');
        await t.see(feed.getByText(`anna deleted client ID ${B}`), 'noted');
        await remove(page, tenants(page), D);
        await t.gone(tenants(page).getByText(D), 'a tenant too');
    },
});


module.exports = [

    administrator('fleet', undefined, 'Kept by this node'),
    administrator('redis', 'redis', 'Redis, connected'),

    {
        name: 'two administrators',
        failing: /status of 412/,
        async run({ page, context, home, t })
        {
            const other = await context.newPage();

            await other.goto(home);
            await t.see(clients(other).getByText(C), 'both see the list');
            await add(page, clients(page), B);
            await t.see(success(page), 'one is first');
            await clients(other).getByRole('button', { name: C }).click();
            const again = dialog(other).getByRole('button',
                { name: 'Delete' });
            await again.click();
            await t.see(dialog(other).getByText('changed by somebody else'),
                'the other is told');
            await again.click();
            await t.see(success(other), 'and decides anew');
            await t.see(clients(other).getByText(B), 'nothing is lost');
        },
    },

    {
        name: 'by keyboard alone',
        async run({ page, t })
        {
            const keys = page.keyboard;

            t.ok(await tabTo(page, 'client-add'), 'to Add');
            await keys.press('Enter');
            await keys.type(C);
            await keys.press('Enter');
            await t.see(success(page), 'added');
            t.is(await focused(page), 'client-add', 'the focus is back');
            t.ok(await tabTo(page, `Delete client ID ${C}`), 'to Delete');
            await keys.press('Space');
            await keys.press('Tab');
            t.is(await focused(page), 'confirm-submit', 'to Delete, again');
            await keys.press('Enter');
            await t.see(success(page).getByText('deleted'), 'deleted');
            await t.gone(clients(page).getByText(C), 'and gone');
        },
    },

    {
        name: 'an observer',
        user: 'otto',
        async run({ page, t })
        {
            const why = 'Your role, observer, may look but not change';

            await t.see(page.locator('#notices').getByText(why),
                'read-only up front');
            await refuses({ page, t },
                clients(page).getByRole('button', { name: /^Add/ }), why);
            await refuses({ page, t },
                clients(page).getByRole('button', { name: B }), why);
        },
    },

    {
        name: 'nobody',
        user: 'mallory',
        failing: /status of 403/,
        async run({ page, t })
        {
            await t.see(page.locator('#stale').getByText('role'), 'told why');
            t.is(await clients(page).getByRole('listitem').count(), 0,
                'sees nothing');
        },
    },

    {
        name: 'GitOps mode',
        at: 'gitops',
        async run({ page, t })
        {
            const why = 'GitOps mode is on: change the lists in your '
                + 'repository.';

            await t.see(clients(page).getByText(B), 'the lists are shown');
            await t.see(page.locator('#notices').getByText(why),
                'read-only up front');
            await refuses({ page, t },
                tenants(page).getByRole('button', { name: /^Add/ }), why);
            await refuses({ page, t },
                clients(page).getByRole('button', { name: B }), why);
        },
    },

    {
        name: 'GitOps mode, by the pipeline',
        at: 'gitops',
        user: 'pipeline',
        async run({ page, t })
        {
            await add(page, clients(page), A);
            await t.see(success(page), 'it may');
            await remove(page, clients(page), A);
            await t.gone(clients(page).getByText(A), 'and does');
        },
    },

    {
        name: 'the API away',
        failing: /ERR_/,
        async run({ page, ask, t })
        {
            await ask('nginx stops');
            await refresh(page);
            await t.see(stale(page).getByText('The server cannot be reached.'),
                'told');
            await t.see(page.getByText(/^Stale, from/), 'marked stale');
            await t.see(clients(page).getByText(B), 'the last data stay');
            await add(page, clients(page), A);
            await t.see(dialog(page).getByText('is not known'),
                'a change meanwhile');
            t.is(await dialog(page).getByRole('textbox').inputValue(), A,
                'what was typed stays');

            await ask('nginx starts');
            await dialog(page).getByRole('button', { name: 'Add' }).click();
            await t.see(success(page), 'and is sent when it is back');
            await t.see(clients(page).getByText(B), 'to the lists of before');
            await refresh(page);
            await t.see(page.getByText(/^Live/), 'live again');
        },
    },

    {
        name: 'changes from elsewhere',
        at: 'redis',
        async run({ page, ask, t })
        {
            await ask('redis-cli adds an ID');
            await refresh(page);
            await t.eventually(async () => {
                await refresh(page);
                return await clients(page).getByText(D).count();
            }, 'are shown');
            await t.eventually(async () => {
                await refresh(page);
                return await region(page, 'Activity')
                    .getByText(`redis added client ID ${D}`).count();
            }, 'and where they came from');
        },
    },

    {
        name: 'Redis has lost its data',
        at: 'redis',
        failing: /status of 50/,
        async run({ page, context, home, ask, t })
        {
            const notices = page.locator('#notices');
            const press = async (what) => {
                await notices.getByRole('button', { name: what }).click();
                await dialog(page).getByRole('button', { name: what }).click();
            };

            await ask('Redis loses its data');
            await refresh(page);
            await t.see(notices.getByText('Redis has lost its data'), 'told');
            await t.see(clients(page).getByText(C), 'the last lists stay');
            await press('Write');
            await t.see(success(page).getByText('written to Redis'),
                'the administrator keeps them');
            await t.gone(notices.getByText('lost'), 'lost no more');
            await ask('Redis has the lists');

            await ask('Redis loses its data');
            await refresh(page);
            await press('Empty');
            await t.see(success(page).getByText('empty now'),
                'or wants nothing back');
            await t.see(clients(page).getByText('No client IDs added'),
                'nothing is left');
            await ask('Redis is empty');

            await add(page, clients(page), B);
            await t.see(success(page), 'and on');
            await ask('Redis stops');
            await t.eventually(async () => {
                await refresh(page);
                return await region(page, 'Status')
                    .getByText('Redis is not connected').count();
            }, 'Redis away: told');
            await add(page, clients(page), C);
            await t.see(dialog(page).getByText('nothing was changed'),
                'a change meanwhile is none');
            await page.keyboard.press('Escape');
            await t.see(clients(page).getByText(B), 'the last lists stay');
        },
    },

    ...THEMES.map((theme) => ({
        name: `looks, ${theme}`,
        context: { colorScheme: theme },
        async run(scenario)
        {
            await looks(scenario, 'live', theme);
        },
    })),

    ...THEMES.map((theme) => ({
        name: `looks without Redis, ${theme}`,
        at: 'redis',
        failing: /status of 503/,
        context: { colorScheme: theme },
        async run(scenario)
        {
            const { page, t } = scenario;

            await t.see(page.getByText(/^Live/), 'the node answers');
            await t.see(clients(page).getByText(B), 'with its last lists');
            await t.see(region(page, 'Activity').getByText('The activities '
                + 'cannot be read now. Redis cannot be used'), 'and no more');
            await looks(scenario, 'live-away', theme);
        },
    })),
];
