/* The page over the module itself; t/page-live.t has set the scene. */

'use strict';

const {
    B, C, T, add, clients, tenants, dialog, success, region,
} = require('./helpers.js');


module.exports = [

    {
        name: 'an administrator',
        async run({ page, settings, t })
        {
            const refused = region(page, 'Refused in the last hour');
            const feed = region(page, 'Activity');

            await t.see(tenants(page).getByText('nginx.conf'),
                'the tenant is locked');
            await t.see(tenants(page).getByText(T), 'and named');
            await t.see(page.getByText('policy fleet'), 'the policy');
            await t.see(page.getByText('role admin'), 'the role');
            await t.see(region(page, 'Status').getByText('1 key'), 'the keys');
            await t.see(refused.getByText('audience_not_allowed'), 'a reason');

            await refused.getByRole('button', { name: settings.audience })
                .click();
            await t.see(success(page), 'one click');
            await t.see(clients(page).getByText(settings.audience), 'listed');
            await t.see(feed.getByText(
                `anna added client ID ${settings.audience}`), 'noted');

            for (const id of [B, C]) {
                await add(page, clients(page), id);
                await t.see(clients(page).getByText(id), 'added by dialog');
            }
            await clients(page).getByRole('button', { name: B }).click();
            await dialog(page).getByRole('button', { name: 'Delete' }).click();
            await t.gone(clients(page).getByText(B), 'deleted');
            await t.see(feed.getByText(`anna deleted client ID ${B}`), 'noted');
        },
    },

    {
        name: 'two administrators',
        failing: /status of 412/,
        async run({ page, context, settings, t })
        {
            const other = await context.newPage();

            await other.goto(settings.page);
            await t.see(clients(other).getByText(C), 'both see the list');
            await add(page, clients(page), B);
            await t.see(success(page), 'one is first');
            await clients(other).getByRole('button', { name: C }).click();
            await dialog(other).getByRole('button', { name: 'Delete' }).click();
            await t.see(dialog(other).getByText('changed by somebody else'),
                'the other is told');
            await dialog(other).getByRole('button', { name: 'Delete' }).click();
            await t.see(success(other), 'and decides anew');
            await t.see(clients(other).getByText(B), 'nothing is lost');
        },
    },

    {
        name: 'an observer',
        user: 'otto',
        async run({ page, t })
        {
            await t.see(page.locator('#notices').getByText('Your role, '
                + 'observer, may look but not change'), 'read-only up front');
            t.is(await clients(page).getByRole('button', { name: B })
                .getAttribute('aria-disabled'), 'true', 'no Delete');
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
];
