/* By keyboard alone, to a screen reader, and under the strict policy. */

'use strict';

const {
    A, B, C, T, clients, dialog, success, refusal, focused, tabTo,
} = require('./helpers.js');

const full = {
    client: [A], tenant: [T], static_client: [B],
    refusals: [refusal({ audiences: [C] })],
};


module.exports = [

    {
        name: 'keyboard only',
        state: { client: [A], tenant: [T] },
        async run({ page, control, t })
        {
            const keys = page.keyboard;

            await keys.press('Tab');
            t.is(await focused(page), 'Skip to the lists',
                'a way past the top');
            await keys.press('Enter');
            t.is(await focused(page), 'main', 'leads to the lists');

            t.ok(await tabTo(page, 'client-add'), 'to Add');
            await keys.press('Enter');
            t.is(await focused(page), 'add-value', 'the field has the focus');
            await keys.type('nonsense');
            await keys.press('Enter');
            t.is(await focused(page), 'add-value', 'after an error too');
            await keys.press('Control+A');
            await keys.type(B);
            await keys.press('Tab');
            t.is(await focused(page), 'add-cancel', 'Cancel is next');
            await keys.press('Tab');
            t.is(await focused(page), 'add-submit', 'then Add');
            await keys.press('Space');
            await t.see(success(page), 'added');
            t.is(await focused(page), 'client-add', 'the focus is back');
            t.is((await control()).client, [A, B], 'in the list');

            t.ok(await tabTo(page, `Delete client ID ${A}`), 'to Delete');
            await keys.press('Enter');
            t.is(await focused(page), 'confirm-cancel', 'Cancel comes first');
            await keys.press('Escape');
            t.is(await focused(page), `Delete client ID ${A}`,
                'Escape: the focus is back');
            await keys.press('Enter');
            await keys.press('Tab');
            t.is(await focused(page), 'confirm-submit', 'then Delete');
            await keys.press('Enter');
            await t.see(success(page).getByText('deleted'), 'deleted');
            t.is((await control()).client, [B], 'from the list');
            t.is(await focused(page), `Delete client ID ${B}`,
                'the focus is on the next row');

            t.ok(await tabTo(page, 'Dismiss this message', 'Shift+Tab'),
                'to the message');
            await keys.press('Enter');
            await t.gone(success(page).getByRole('button'), 'dismissed');
        },
    },

    {
        name: 'no keyboard trap',
        state: full,
        async run({ page, t })
        {
            const seen = new Set();

            for (let i = 0; i < 60; i += 1) {
                await page.keyboard.press('Tab');
                const at = await page.evaluate(() => {
                    const node = document.activeElement;
                    const style = getComputedStyle(node);
                    return { body: node === document.body,
                             outline: style.outlineStyle !== 'none'
                                      && parseFloat(style.outlineWidth) >= 2 };
                });
                if (at.body) {
                    break;
                }
                const name = await focused(page);
                if (!seen.has(name)) {
                    t.ok(at.outline, `${name}: the focus is visible`);
                }
                seen.add(name);
            }
            t.ok(seen.size >= 6 && seen.size < 60, 'Tab comes round',
                [...seen].join(', '));
        },
    },

    {
        name: 'long list by keyboard',
        state: { client: Array.from({ length: 30 }, (none, i) => (
            `${A.slice(0, -2)}${10 + i}`)), tenant: [T] },
        async run({ page, t })
        {
            t.ok(await tabTo(page, 'client-skip'), 'a way past the rows');
            await page.keyboard.press('Enter');
            t.is(await focused(page), 'tenant-heading', 'to the next section');
            await page.keyboard.press('Tab');
            t.is(await focused(page), 'tenant-add', 'and on from there');
        },
    },

    {
        name: 'screen reader',
        state: full,
        async run({ page, t })
        {
            const tree = await page.locator('body').ariaSnapshot();

            for (const line of [
                'banner:', 'main:', 'heading "Microsoft Entra" [level=1]',
                'region "Entra application client IDs 2":',
                'heading "Entra application client IDs 2" [level=2]',
                'button "Add client ID"',
                'list "Entra application client IDs 2":',
                `button "Delete client ID ${A}"`, 'locked, from nginx.conf',
                'region "Entra tenants 1":', 'button "Add tenant"',
                `button "Delete tenant ${T}"`, 'region "Status":',
                'term: Lists',
                'region "Refused in the last hour":',
                `button "Add client ID ${C}"`,
                'region "Activity":',
            ]) {
                t.ok(tree.includes(line), line, tree);
            }
            t.is(await page.locator('html').getAttribute('lang'), 'en',
                'the language');
            t.ok(await page.title(), 'a title');

            const unnamed = await page.evaluate(() => (
                [...document.querySelectorAll('button, input, a')]
                    .filter((node) => node.checkVisibility()
                        && !(node.getAttribute('aria-label')
                             || node.textContent.trim()
                             || (node.labels && node.labels.length)))
                    .map((node) => node.outerHTML)));
            t.is(unnamed, [], 'nothing without a name');

            const ids = await page.evaluate(() => (
                [...document.querySelectorAll('[id]')].map((node) => node.id)));
            t.is(ids.length, new Set(ids).size, 'no ID twice');

            await page.locator('#client-add').click();
            const adding = await page.locator('#add').ariaSnapshot();
            t.like(adding, /dialog "Add Entra client ID"/, 'the dialog');
            t.like(adding, /textbox "Client ID"/, 'its field');
            await page.keyboard.press('Enter');
            t.is(await page.getByRole('textbox').evaluate((node) => (
                node.getAttribute('aria-describedby').split(' ')
                    .map((id) => document.getElementById(id).textContent)
                    .pop())), 'Client ID is required',
                'the error describes the field');
            await page.keyboard.press('Escape');
            await clients(page).getByRole('button', { name: A }).click();
            await t.see(page.getByRole('alertdialog',
                { name: 'Delete client ID' }), 'the question');
            t.like(await dialog(page).evaluate((node) => document
                .getElementById(node.getAttribute('aria-describedby'))
                .textContent), /1111.*no longer enroll/, 'is described');
        },
    },

    {
        name: 'the detectors',
        failing: /./,
        async run({ page, troubles, t })
        {
            await page.evaluate(() => {
                const script = document.createElement('script');
                script.textContent = 'window.inline = 1';
                document.body.append(script);
                document.body.setAttribute('style', 'color: red');
                const image = new Image();
                image.src = 'http://127.0.0.2:9/elsewhere.png';
            });
            await t.eventually(() => troubles.violations.length >= 3,
                'notice an inline script, an inline style, another origin');
            t.is(await page.evaluate(() => window.inline), undefined,
                'which does not run');
            t.ok(troubles.elsewhere.length, 'and the request to it');
            troubles.violations.length = 0;
            troubles.elsewhere.length = 0;

            await page.evaluate(() => console.error('on purpose'));
            await t.eventually(() => troubles.errors.includes('on purpose'),
                'notice an error');
        },
    },
];
