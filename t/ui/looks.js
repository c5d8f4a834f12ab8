/*
 * Sizes, themes, contrast; and screenshots to be looked at, which claim
 * nothing by themselves.
 */

'use strict';

const {
    A, B, T, clients, tenants, dialog, success, refusal, minutes, many,
} = require('./helpers.js');

const THEMES = ['light', 'dark'];
const WIDTHS = [1280, 360];

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


/* every text on the page against what it stands on: WCAG 2, 1.4.3 */

function poorTexts()
{
    const rgb = (color) => color.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((value) => value / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (node) => {
        for (let at = node; at; at = at.parentElement) {
            const color = rgb(getComputedStyle(at).backgroundColor);
            if (color.length < 4 || color[3] === 1) {
                return color;
            }
            if (color[3] > 0) {
                throw new Error(`half-transparent: ${at.outerHTML}`);
            }
        }
        throw new Error('no background');
    };
    const contrast = (a, b) => {
        const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
        return (x + 0.05) / (y + 0.05);
    };
    const poor = [];
    let texts = 0;

    for (const node of document.querySelectorAll('body *')) {
        const own = [...node.childNodes].some((child) => (
            child.nodeType === Node.TEXT_NODE && child.data.trim()));
        if ((own || node.matches('input, button')) && node.checkVisibility()) {
            const style = getComputedStyle(node);
            const ratio = contrast(rgb(style.color), ground(node));
            texts += 1;
            if (ratio < 4.5) {
                poor.push(`${ratio.toFixed(2)} ${node.textContent.trim()}`);
            }
        }
    }
    return { poor, texts };
}

/* pairs of variables that stand for more than text: WCAG 2, 1.4.11 */

function poorPairs()
{
    const style = getComputedStyle(document.documentElement);
    const light = (name) => {
        const hex = style.getPropertyValue(name).trim();
        return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255)
            .map((v) => (v <= 0.04045 ? v / 12.92
                                      : ((v + 0.055) / 1.055) ** 2.4))
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    };
    const pairs = [
        ...['text', 'muted', 'accent'].flatMap((name) => (
            ['page', 'card', 'sunken'].map((on) => [name, on, 4.5]))),
        ...['accent', 'good', 'warn', 'bad'].flatMap((name) => (
            [[name, `${name}-soft`, 4.5], [name, 'card', 4.5],
             ['text', `${name}-soft`, 4.5]])),
        ['on-accent', 'accent', 4.5], ['on-accent', 'accent-strong', 4.5],
        ['on-bad', 'bad', 4.5], ['on-tip', 'tip', 4.5],
        ['control', 'card', 3], ['accent', 'accent-soft', 3],
    ];

    return pairs.map(([name, on, least]) => {
        const [x, y] = [light(`--${name}`), light(`--${on}`)]
            .sort((p, q) => q - p);
        return { name, on, least, ratio: (x + 0.05) / (y + 0.05) };
    }).filter(({ ratio, least }) => !(ratio >= least))
        .map((p) => `${p.name} on ${p.on}: ${p.ratio}`);
}


async function looks({ page, t, settings }, name, theme)
{
    for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: width > 600 ? 900 : 760 });
        await page.evaluate(() => {         /* to scroll there */
            const had = document.activeElement;
            had.blur();
            had.focus();
        });
        const wide = await page.evaluate(() => (
            document.scrollingElement.scrollWidth - window.innerWidth));
        t.ok(wide <= 0, `${name}, ${width}: no horizontal scrolling`,
            `${wide} pixels too wide`);
        await page.screenshot({
            path: `${settings.shots}/${name}-${theme}-${width}.png`,
            fullPage: !/-dialog|-tip|success/.test(name),
        });
    }
    await page.setViewportSize({ width: 1280, height: 900 });

    const { poor, texts } = await page.evaluate(poorTexts);
    t.ok(texts > 10, `${name}: texts are found`, texts);
    t.is(poor, [], `${name}: contrast`);
}


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
