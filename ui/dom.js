/*
 * What the page is made of: elements whose text is text and never markup,
 * messages, and the tooltip of what is read-only.
 */

import { readOnly, text } from './model.js';


export const $ = (id) => document.getElementById(id);

export function element(name, properties, ...children)
{
    const node = document.createElement(name);

    for (const [key, value] of Object.entries(properties || {})) {
        if (key in node) {
            node[key] = value;
        } else {
            node.setAttribute(key, value);
        }
    }
    node.append(...children.filter((child) => child !== null));
    return node;
}

export function icon(name)
{
    const ns = 'http://www.w3.org/2000/svg';
    const svg = document.createElementNS(ns, 'svg');
    const use = document.createElementNS(ns, 'use');

    svg.setAttribute('aria-hidden', 'true');
    use.setAttribute('href', `#icon-${name}`);
    svg.append(use);
    return svg;
}

/* long IDs may break after a hyphen, and only there */

export function guid(id)
{
    const node = element('code', { className: 'guid' });

    id.split(/(?<=-)/).forEach((part, i) => {
        node.append(...(i ? [document.createElement('wbr'), part] : [part]));
    });
    return node;
}

export const number = (n) => Number(n).toLocaleString('en');
export const plural = (n, noun) => `${number(n)} ${noun}${n === 1 ? '' : 's'}`;
export const seconds = (time) => Date.parse(time) / 1000;

export function ago(age)
{
    const units = [[86400, 'day'], [3600, 'hour'], [60, 'minute']];
    const [size, unit] = units.find(([size]) => age >= size) || [1, 'second'];

    if (age < 5) {
        return 'just now';
    }
    return `${plural(Math.floor(age / size), unit)} ago`;
}

export function time(stamp)
{
    const at = new Date(stamp);

    if (Number.isNaN(at.getTime())) {
        return document.createTextNode(text(stamp));
    }
    return element('time', { dateTime: at.toISOString(),
                             title: at.toISOString() },
                   at.toLocaleString('en-GB', { dateStyle: 'medium',
                                                timeStyle: 'short' }));
}

/*
 * Draws anew what holds the focus: it returns to the element of the same
 * data-key, or else to the heading.
 */

export function redraw(container, heading, draw)
{
    const had = container.contains(document.activeElement)
                ? document.activeElement : null;
    const key = had && had.dataset.key;

    draw();
    if (!had || container.contains(document.activeElement)) {
        return;
    }
    const same = [...container.querySelectorAll('[data-key]')]
        .find((node) => node.dataset.key === key);
    (same || heading).focus();
}


/*** saying it ***/

export function notice(kind, title, ...body)
{
    return element('div', { className: `notice notice-${kind}` },
        element('div', { className: 'notice-body' },
            element('p', { className: 'notice-title' }, title), ...body));
}

function announce(id, kind, title)
{
    const box = notice(kind, title);
    const close = element('button', {
        type: 'button', className: 'button button-icon',
        'aria-label': 'Dismiss this message',
    }, icon('close'));

    close.addEventListener('click', () => {
        $(id).replaceChildren();
        $('main').focus();
    });
    box.append(close);
    $(id).replaceChildren(box);
}

export function succeed(message)
{
    $('failure').replaceChildren();
    announce('success', 'good', message);
}

export function fail(message)
{
    $('success').replaceChildren();
    announce('failure', 'bad', message);
}

/* to screen readers only */

export function say(message)
{
    $('hint').textContent = message;
}


/*** buttons that may do nothing ***/

export function allow(button, label)
{
    const why = readOnly();

    button.setAttribute('aria-disabled', why ? 'true' : 'false');
    if (why) {
        button.setAttribute('aria-describedby', 'tip');
    } else {
        button.removeAttribute('aria-describedby');
    }
    if (label) {
        button.setAttribute('aria-label', label);
    }
    return button;
}

/* what a button does, unless it is only there to be looked at */

export function act(event, action)
{
    const button = event.currentTarget;

    if (button.getAttribute('aria-disabled') === 'true') {
        showTip(button);
        return;
    }
    action();
}

const tip = { of: null };

function showTip(button)
{
    const node = $('tip');
    const at = button.getBoundingClientRect();

    tip.of = button;
    node.hidden = false;
    const box = node.getBoundingClientRect();
    const below = at.bottom + 8 + box.height < window.innerHeight;
    node.style.left = `${Math.max(8, Math.min(at.right - box.width,
                                 window.innerWidth - box.width - 8))}px`;
    node.style.top = `${below ? at.bottom + 6 : at.top - box.height - 6}px`;
}

function hideTip()
{
    $('tip').hidden = true;
}

/* after scrolling, or drawing anew, which may have removed the button */

export function moveTip()
{
    const button = tip.of;

    if (!$('tip').hidden && button.isConnected
        && button.hasAttribute('aria-describedby'))
    {
        showTip(button);
    } else {
        hideTip();
    }
}

export function followTips()
{
    const explained = (event) => event.target instanceof Element
        && event.target.closest('[aria-describedby="tip"]');

    for (const type of ['pointerover', 'focusin']) {
        document.addEventListener(type, (event) => {
            const button = explained(event);
            if (button) {
                showTip(button);
            } else if (!$('tip').contains(event.target)) {
                hideTip();
            }
        });
    }
    document.addEventListener('keydown', (event) => {
        if (event.key === 'Escape') {
            hideTip();
        }
    });
    document.addEventListener('scroll', moveTip, true);
}
