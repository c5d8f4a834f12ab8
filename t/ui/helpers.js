/* What the scenarios have in common: IDs, parts of the page, steps. */

'use strict';

const A = '11111111-2222-3333-4444-555555555555';
const B = 'bbbbbbbb-2222-3333-4444-555555555555';
const C = 'cccccccc-2222-3333-4444-555555555555';
const T = '6d8769e6-0f8b-418d-b385-1a53968781c9';

const region = (page, name) => page.getByRole('region', { name });
const clients = (page) => region(page, /client IDs/);
const tenants = (page) => region(page, /Entra tenants/);
const dialog = (page) => page.locator('dialog[open]');
const stale = (page) => page.locator('#stale');
const success = (page) => page.locator('#success');
const minutes = (n) => new Date(Date.now() - n * 60000).toISOString()
    .replace(/\.\d+/, '');

function refusal(more)
{
    return { time: minutes(5), key: 'audience_not_allowed', tenant: T,
             tenant_listed: true, audiences: [A], request_id: 'f00d', ...more };
}

async function add(page, part, value)
{
    await part.getByRole('button', { name: /^Add/ }).click();
    await dialog(page).getByRole('textbox').fill(value);
    await dialog(page).getByRole('button', { name: 'Add' }).click();
}

const many = (n) => Array.from({ length: n }, (none, i) => (
    `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`));

/* what has the focus, in a word */
const focused = (page) => page.evaluate(() => {
    const node = document.activeElement;
    return node.id || node.getAttribute('aria-label') || node.textContent.trim()
        || node.tagName;
});

/* presses Tab until that has the focus; false after two rounds without */

async function tabTo(page, wanted, key = 'Tab')
{
    for (let i = 0; i < 80; i += 1) {
        if (await focused(page) === wanted) {
            return true;
        }
        await page.keyboard.press(key);
    }
    return false;
}


module.exports = {
    A, B, C, T, add, clients, tenants, dialog, success, stale, region, many,
    refusal, minutes, focused, tabTo,
};
