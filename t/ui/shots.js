/*
 * Sizes, themes, contrast; and screenshots to be looked at, which claim
 * nothing by themselves.
 */

'use strict';

const WIDTHS = [1280, 360];


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


module.exports = { looks, poorPairs };
