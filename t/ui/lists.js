/* Adding and deleting, and what is shown of the lists. */

'use strict';

const {
    A, B, T, add, clients, tenants, dialog, success, region, many,
} = require('./helpers.js');


module.exports = [

    {
        name: 'empty',
        async run({ page, t })
        {
            await t.see(clients(page).getByText('No client IDs added'),
                'client IDs: empty');
            await t.see(clients(page).getByText('Add your Entra application '
                + 'client ID to enroll Windows hosts.'), 'what to do');
            await t.see(tenants(page).getByText('No tenants added'),
                'tenants: empty');
            await t.see(page.getByText('No activity yet'), 'activity: empty');
            t.is(await page.locator('#client-count').textContent(), '0',
                'counted');
            t.ok(await page.locator('#client-filter').isHidden(),
                'no filter for an empty list');
        },
    },

    {
        name: 'add',
        async run({ page, control, t })
        {
            await add(page, clients(page), `  ${B.toUpperCase()} `);
            await t.see(success(page).getByText('Successfully added client ID'),
                'success is told');
            await t.see(clients(page).getByText(B), 'the row');
            await t.gone(clients(page).getByText('No client IDs added'),
                'not empty any more');
            t.is((await control()).client, [B], 'trimmed and in lower case');
            t.is(await page.evaluate(() => document.activeElement.id),
                'client-add', 'the focus is back');

            await add(page, tenants(page), T);
            await t.see(success(page).getByText('Successfully added tenant'),
                'a tenant too');
            t.is((await control()).tenant, [T], 'in the other list');
            await t.see(region(page, 'Activity')
                .getByText(`anna added tenant ${T}`), 'the activity appears');
        },
    },

    {
        name: 'delete',
        state: { client: [A, B], tenant: [T] },
        async run({ page, control, t })
        {
            await clients(page).getByRole('button', { name: A }).click();
            await t.see(dialog(page).getByText('can no longer enroll'),
                'what it means');
            await t.see(dialog(page).getByText(A), 'which one');
            await dialog(page).getByRole('button', { name: 'Cancel' }).click();
            t.is((await control()).client, [A, B], 'cancelled');

            await clients(page).getByRole('button', { name: A }).click();
            await dialog(page).getByRole('button', { name: 'Delete' }).click();
            await t.see(success(page).getByText('Successfully deleted'),
                'success is told');
            await t.gone(clients(page).getByText(A), 'the row is gone');
            t.is((await control()).client, [B], 'deleted');
            t.is(await page.evaluate(() => document.activeElement
                .getAttribute('aria-label')), `Delete client ID ${B}`,
                'the focus is on the next row');

            await tenants(page).getByRole('button', { name: T }).click();
            await t.see(dialog(page).getByText('the last tenant'),
                'the last tenant: warned');
            await dialog(page).getByRole('button', { name: 'Delete' }).click();
            await t.see(tenants(page).getByText('No tenants added'), 'empty');
            t.is(await page.evaluate(() => document.activeElement.id),
                'tenant-add', 'the focus is on Add');
        },
    },

    {
        name: 'invalid',
        state: { client: [A.toUpperCase().replace('1', 'A')] },
        async run({ page, control, t })
        {
            const upper = A.toUpperCase().replace('1', 'A');
            const cases = [
                ['   ', 'Client ID is required'],
                ['1234', 'Invalid UUID. Please provide a valid UUID format.'],
                [`{${A}}`, 'Invalid UUID. Please provide a valid UUID format.'],
                [`${A} ${B}`,
                 'Invalid UUID. Please provide a valid UUID format.'],
                [upper.toLowerCase(), "Couldn't add client ID. "
                                      + 'Client ID already exists.'],
            ];

            await clients(page).getByRole('button', { name: /^Add/ }).click();
            const field = dialog(page).getByRole('textbox');
            for (const [typed, message] of cases) {
                await field.fill(typed);
                await page.keyboard.press('Enter');
                t.is(await page.locator('#add-error').textContent(), message,
                    `"${typed}"`);
                t.is(await field.getAttribute('aria-invalid'), 'true',
                    'marked');
            }
            t.is(await field.inputValue(), upper.toLowerCase(),
                'what was typed stays');
            await field.fill(B);
            t.is(await page.locator('#add-error').textContent(), '',
                'typing takes the error away');
            await page.keyboard.press('Escape');
            await t.gone(dialog(page), 'Escape closes it');

            await tenants(page).getByRole('button', { name: /^Add/ }).click();
            t.is(await field.inputValue(), '', 'a new dialog is empty');
            await page.keyboard.press('Enter');
            t.is(await page.locator('#add-error').textContent(),
                'Tenant ID is required', 'tenant');
            t.is((await control()).patches, 0, 'the API was not asked');
        },
    },

    {
        name: 'locked',
        state: { client: [A], static_client: [B], static_tenant: [T] },
        async run({ page, control, t })
        {
            const row = clients(page).getByRole('listitem')
                .filter({ hasText: B });

            await t.see(row.getByText('nginx.conf'), 'the origin');
            t.is(await row.getByRole('button').count(), 0, 'no Delete');
            t.is(await clients(page).getByRole('listitem')
                .filter({ hasText: A }).getByRole('button').count(), 1,
                'the other has one');
            await add(page, clients(page), B);
            await t.see(dialog(page).getByText('already exists. It is '
                + 'configured in nginx.conf.'), 'not twice');
            t.is((await control()).patches, 0, 'the API was not asked');
        },
    },

    {
        name: 'refused by the API',
        state: { patch_status: 422,
                 patch_reason: 'Invalid Entra client ID: x' },
        failing: /status of 422/,
        async run({ page, t })
        {
            await add(page, clients(page), A);
            await t.see(dialog(page).getByRole('alert')
                .getByText('Invalid Entra client ID: x'), 'the reason');
            t.is(await dialog(page).getByRole('textbox').inputValue(), A,
                'what was typed stays');
        },
    },

    {
        name: '10,000 IDs',
        state: { client: many(10000), tenant: [T] },
        async run({ page, control, t })
        {
            const part = clients(page);
            const last = many(10000)[9999];
            const rows = part.getByRole('listitem');

            t.is(await page.locator('#client-count').textContent(), '10,000',
                'counted');
            t.is(await rows.count(), 100, 'not all are rendered');
            await part.getByRole('button', { name: 'Show more' }).focus();
            await page.keyboard.press('Enter');
            await t.eventually(async () => await rows.count() >= 200,
                'more on demand');
            t.ok(await page.evaluate(() => document.activeElement
                .textContent === 'Show more'), 'the focus stays there');
            await page.locator('#client-scroll').evaluate((box) => {
                box.scrollTop = box.scrollHeight;
            });
            await t.eventually(async () => await rows.count() >= 300,
                'more by scrolling');

            const began = Date.now();
            await part.getByRole('searchbox').fill('9999');
            await t.see(part.getByText(last), 'the filter finds the last one');
            t.ok(Date.now() - began < 3000, 'in time', Date.now() - began);
            t.is(await page.locator('#client-count').textContent(),
                '1 of 10,000', 'what was found is counted');
            await part.getByRole('searchbox').fill('8-000000009');
            t.is(await rows.count(), 0, 'none');
            await t.see(part.getByText('Nothing matches'), 'and says so');
            await part.getByRole('searchbox').fill(` ${last.toUpperCase()}`);

            await part.getByRole('button', { name: last }).click();
            await dialog(page).getByRole('button', { name: 'Delete' }).click();
            await t.see(success(page), 'deleted');
            await add(page, part, B);
            await t.see(success(page).getByText('added'), 'added');
            t.is((await control()).client.length, 10000,
                'all others are there');
            await part.getByRole('searchbox').fill('');
            t.is(await rows.count(), 100, 'without the filter');
        },
    },

    {
        name: 'activity pages',
        async run({ page, control, t })
        {
            const feed = region(page, 'Activity');
            const entry = (i) => ({
                id: String(i), created_at: '2026-11-23T18:00:00Z',
                type: 'deleted_microsoft_entra_client_id',
                details: { client_id: many(25)[i] }, actor: `user${i}`,
                role: 'admin',
            });

            await control({ activities: many(25).map((id, i) => entry(i)) });
            await page.reload();
            await t.see(feed.getByText(`user0 deleted client ID ${many(1)[0]}`),
                'the first page');
            t.is(await feed.getByRole('listitem').count(), 10, 'of ten');
            for (const first of ['user10', 'user20']) {
                await feed.getByRole('button', { name: 'Older' }).click();
                await t.see(feed.getByText(first), `older: ${first}`);
            }
            t.is(await feed.getByRole('listitem').count(), 5, 'the last page');
            await feed.getByRole('button', { name: 'Older' })
                .click({ force: true });
            t.is(await feed.getByText('Page 3').count(), 1, 'is the last');
            await feed.getByRole('button', { name: 'Newer' }).click();
            await t.see(feed.getByText('user10'), 'newer');
        },
    },
];
