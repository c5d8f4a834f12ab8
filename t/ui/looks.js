/* The page in both themes and at all sizes, in all its states. */

'use strict';

const {
    A, B, T, clients, tenants, dialog, success, refusal, minutes, many,
} = require('./helpers.js');
const { looks, poorPairs } = require('./shots.js');

const THEMES = ['light', 'dark'];

const guids = ['5f1c2a7e-90b4-4c1d-8e3f-2b6a7d9c0e14',
               'a84d3c92-1e57-4f60-b2c8-73d5e6f01a9b',
               '0c9e8b71-6a25-43df-91e0-d48f2c3b5a67'];

function activity(minute, actor, role, type, details)
{
    return { id: String(minute), created_at: minutes(minute), actor, role, type,
             details };
}

const typical = {
    source: 'redis', client: guids, tenant: [T, A], static_client: [B],
    redis: { connected: true, tracking: true, last_update_seconds: 42,
             skipped_members: { client_ids: 0, tenant_ids: 0 } },
    decisions: {
        total: { accepted: { ok: 1284 }, passed: { device_token: 96 },
                 refused: { audience_not_allowed: 17, token_expired: 6 } },
        last_hour: { refused: { audience_not_allowed: 3, token_expired: 1 },
                     would_refuse: { tenant_not_allowed: 1 } },
    },
    refusals: [
        refusal({ audiences: ['e7d6c5b4-a392-4817-b605-f4e3d2c1b0a9'],
                  request_id: '9b1f0c7d52e84a6f8d3e1c2b4a596877' }),
        refusal({ audiences: ['e7d6c5b4-a392-4817-b605-f4e3d2c1b0a9'],
                  time: minutes(12) }),
        refusal({ audiences: ['https://old-mdm.example.com'],
                  time: minutes(31),
                  request_id: '1c2b4a5968779b1f0c7d52e84a6f8d3e' }),
        refusal({ key: 'tenant_not_allowed', tenant_listed: false,
                  time: minutes(44) }),
    ],
    activities: [
        activity(3, 'anna', 'admin', 'added_microsoft_entra_client_id',
            { client_id: guids[2] }),
        activity(64, 'redis', '', 'deleted_microsoft_entra_tenant',
            { tenant_id: B }),
        activity(1500, 'pipeline', 'gitops', 'added_microsoft_entra_tenant',
            { tenant_id: T }),
    ],
};

const troubled = {
    ...typical, source: 'lost', gitops: 1, static_client: [],
    client: many(40), tenant: [],
    state: { failing: true, failed: 3 }, activities: [], refusals: [],
    keys: { usable: true, count: 8, age_seconds: 90000, last_fetch: 'failed' },
};


module.exports = THEMES.flatMap((theme) => [

    {
        name: `looks, ${theme}`,
        context: { colorScheme: theme },
        state: typical,
        async run(scenario)
        {
            const { page, t } = scenario;

            t.is(await page.evaluate(poorPairs), [], 'contrast of variables');
            await looks(scenario, 'typical', theme);

            await page.setViewportSize({ width: 320, height: 700 });
            t.ok(await page.evaluate(() => (
                document.scrollingElement.scrollWidth <= 320)),
                'nor at 320 pixels');
            await page.setViewportSize({ width: 1280, height: 900 });

            await clients(page).getByRole('button', { name: /^Add/ }).click();
            await dialog(page).getByRole('textbox').fill('5f1c2a7e-90b4');
            await page.keyboard.press('Enter');
            await looks(scenario, 'add-dialog', theme);
            await page.keyboard.press('Escape');
            await tenants(page).getByRole('button', { name: T }).click();
            await looks(scenario, 'delete-dialog', theme);
            await page.keyboard.press('Escape');

            await page.getByRole('button', { name: /^Add client ID e7d6/ })
                .click();
            await t.see(success(page), 'a success');
            await looks(scenario, 'success', theme);
        },
    },

    {
        name: `looks, ${theme}, empty`,
        context: { colorScheme: theme },
        async run(scenario)
        {
            await looks(scenario, 'empty', theme);
        },
    },

    {
        name: `looks, ${theme}, troubled`,
        user: 'otto',
        context: { colorScheme: theme },
        state: troubled,
        failing: /status of 502/,
        async run(scenario)
        {
            const { page, control, t } = scenario;

            await looks(scenario, 'troubled', theme);
            await clients(page).getByRole('button', { name: /^Add/ }).focus();
            await looks(scenario, 'read-only-tip', theme);
            await control({ down: 1 });
            await page.evaluate(() => {
                window.dispatchEvent(new Event('online'));
            });
            await t.see(page.locator('#stale').getByRole('button'), 'stale');
            await looks(scenario, 'stale', theme);
        },
    },
]).concat([

    {
        name: 'motion',
        context: { reducedMotion: 'no-preference' },
        async run({ page, t })
        {
            const duration = () => page.locator('#client-add')
                .evaluate((node) => getComputedStyle(node).transitionDuration);

            t.like(await duration(), /0\.12s/, 'a little');
            await page.emulateMedia({ reducedMotion: 'reduce' });
            t.like(await duration(), /^0s/, 'none to whom it disturbs');
        },
    },
]);
